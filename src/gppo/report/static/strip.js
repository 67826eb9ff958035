// The whole response as a strip: its colours from the first token to the last, a mark where tokens are dropped. A click
// goes there. The keyboard has the arrow keys, n and p instead.
const strip = (() => {
  const canvas = document.getElementById("strip");
  let from = 0, length = 0, onJump = () => {};

  const draw = (rollout, tints) => {
    from = rollout.start;
    length = rollout.end - rollout.start;
    const width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio)), height = canvas.height;
    canvas.width = width;
    const pen = canvas.getContext("2d");
    const css = getComputedStyle(document.documentElement);
    const ink = css.getPropertyValue("--dropped").trim();
    pen.clearRect(0, 0, width, height);
    // One column of pixels holds several tokens of a long response: the strongest level is shown.
    for (let x = 0; x < width; x++) {
      const first = Math.floor((x * length) / width), end = Math.max(first + 1, Math.floor(((x + 1) * length) / width));
      let level = 0, dropped = false;
      for (let k = first; k < Math.min(end, length); k++) {
        if (Math.abs(tints.levels[k]) > Math.abs(level)) level = tints.levels[k];
        dropped ||= (tints.flags[k] & 1) === 1;
      }
      if (level) {
        pen.fillStyle = tints.palette[level + colour.STEPS];
        pen.fillRect(x, 12, 1, height - 12);
      }
      if (dropped) {
        pen.fillStyle = ink;
        pen.fillRect(x, 0, Math.max(1, devicePixelRatio), 10);
      }
    }
  };

  canvas.addEventListener("click", (event) => {
    const share = (event.clientX - canvas.getBoundingClientRect().left) / canvas.clientWidth;
    if (length) onJump(from + Math.min(length - 1, Math.floor(share * length)));
  });

  return { draw, listen: (call) => (onJump = call) };
})();
