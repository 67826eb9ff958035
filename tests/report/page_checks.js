// Contrast of every piece of text on a page against what is behind it (WCAG 2, 1.4.3), the lowest first.
(() => {
  const parse = (text) => {
    const numbers = text.match(/[\d.]+/g).map(Number);
    const scale = text.startsWith("color(") ? 255 : 1;  // color(srgb 0.5 0.2 0.7 / 0.2) counts to 1
    return [...numbers.slice(0, 3).map((value) => value * scale), numbers[3] ?? 1];
  };
  const over = (top, below) => top.slice(0, 3).map((value, k) => value * top[3] + below[k] * (1 - top[3]));
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.unshift(parse(getComputedStyle(one).backgroundColor));
    let colour = [255, 255, 255];
    for (const layer of layers) colour = over(layer, colour);
    // The hatch of dropped tokens: the text must be readable on its stripes.
    if (element.matches(".t.d")) {
      const probe = document.createElement("i");
      probe.style.color = "color-mix(in srgb, var(--dropped) var(--stripe), transparent)";
      element.append(probe);
      colour = over(parse(getComputedStyle(probe).color), colour);
      probe.remove();
    }
    return colour;
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    if (element.closest("script, svg, option, .skip, [hidden]") || !element.checkVisibility()) continue;
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const colour = getComputedStyle(element).color;
    const ground = behind(element);
    found.push([contrast(over(parse(colour), ground), ground), element.tagName, element.className, element.textContent.slice(0, 30)]);
  }
  return found.sort((a, b) => a[0] - b[0]).slice(0, 5);
})();
