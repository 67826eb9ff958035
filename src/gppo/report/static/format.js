// Numbers as people read them, and small pieces of the page.
const format = (() => {
  const number = (value) => {
    if (!Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(+value.toPrecision(4));
    return text.replace("-", "−");
  };
  const count = (value) => value.toLocaleString("en-US");
  const share = (part, whole) => {
    if (!whole) return "0 %";
    const value = (100 * part) / whole;
    return value === 0 || value >= 10 ? `${value.toFixed(1)} %` : `${+value.toPrecision(2)} %`;
  };
  const cell = (tag, text, kind = "") => {
    const element = document.createElement(tag);
    element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };
  const row = (...cells) => {
    const element = document.createElement("tr");
    element.append(...cells);
    return element;
  };
  return { number, count, share, cell, row };
})();
