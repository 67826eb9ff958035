// The response as text, token by token. Only what is near the screen is in the document: the response is cut into blocks
// of tokens, and a block has its spans while it is close to the visible part, else just its height.
const text = (() => {
  const SHORT = 150, LONG = 400;  // tokens of a block: it ends with a line after the first number, at the latest at the second
  const view = document.getElementById("text");
  const body = document.getElementById("tokens");
  const CLASSES = ["t", "t d", "t g", "t d g", "t n", "t n", "t n", "t n"];  // by flags: 1 dropped, 2 given back, 4 not learned
  let from = 0, to = 0;
  let tints = { levels: new Int8Array(0), flags: new Uint8Array(0), palette: [] };
  let selected = -1, onSelect = () => {};

  const observer = new IntersectionObserver(
    (entries) => entries.forEach((entry) => (entry.isIntersecting ? put(entry.target) : drop(entry.target))),
    { root: view, rootMargin: "500px" },
  );

  const paint = (span, i) => {
    const k = i - from;
    span.style.backgroundColor = tints.palette[tints.levels[k] + colour.STEPS];
    span.className = CLASSES[tints.flags[k]];
    if (i === selected) span.classList.add("s");
  };

  const put = (block) => {
    if (block.childElementCount) return;
    const first = +block.dataset.first, end = +block.dataset.end;
    const spans = document.createDocumentFragment();
    for (let i = first; i < end; i++) {
      const span = document.createElement("span");
      const piece = data.pieces[data.piece[i]];
      span.textContent = piece.replaceAll("\n", "↵\n") || "∅";
      span.id = `t${i}`;
      paint(span, i);
      spans.append(span);
    }
    block.style.height = "";
    block.append(spans);
  };

  const drop = (block) => {
    if (!block.childElementCount) return;
    block.style.height = `${block.getBoundingClientRect().height}px`;
    block.replaceChildren();
  };

  // About how high a block will be, before it is drawn.
  const guess = (first, end, columns) => {
    let lines = 1, column = 0;
    for (let i = first; i < end; i++) {
      const piece = data.pieces[data.piece[i]];
      column += piece.length;
      if (piece.includes("\n") || column > columns) { lines++; column = 0; }
    }
    return lines * 26;
  };

  // A block is a paragraph of the page, so it should end where the text begins a new line.
  const endOf = (first) => {
    for (let i = first + SHORT; i < Math.min(to, first + LONG); i++)
      if (data.pieces[data.piece[i]].endsWith("\n")) return i + 1;
    return Math.min(to, first + LONG);
  };

  const show = (rollout, now) => {
    from = rollout.start;
    to = rollout.end;
    tints = now;
    selected = -1;
    observer.disconnect();
    const columns = Math.max(20, view.clientWidth / 9);
    const blocks = [];
    for (let first = from, end; first < to; first = end) {
      end = endOf(first);
      const block = document.createElement("div");
      block.className = "block";
      Object.assign(block.dataset, { first, end });
      block.style.height = `${guess(first, end, columns)}px`;
      blocks.push(block);
    }
    body.replaceChildren(...blocks);
    view.scrollTop = 0;
    blocks.slice(0, 8).forEach(put);
    blocks.forEach((block) => observer.observe(block));
  };

  const repaint = (now) => {
    tints = now;
    for (const block of body.children) {
      if (!block.childElementCount) continue;
      const first = +block.dataset.first;
      for (let k = 0; k < block.children.length; k++) paint(block.children[k], first + k);
    }
  };

  const select = (i, scroll = true) => {
    const before = document.getElementById(`t${selected}`);
    selected = i;
    if (before) before.classList.remove("s");
    const at = [...body.children].find((block) => i < +block.dataset.end);
    for (const block of [at?.previousSibling, at, at?.nextSibling]) if (block) put(block);
    const span = document.getElementById(`t${i}`);
    if (!span) return;
    span.classList.add("s");
    view.setAttribute("aria-activedescendant", span.id);
    if (scroll) scrollTo(span);
  };

  // Scrolls the text only, never the page.
  const scrollTo = (span) => {
    const box = view.getBoundingClientRect(), own = span.getBoundingClientRect();
    if (own.top < box.top + 24 || own.bottom > box.bottom - 24)
      view.scrollTop += own.top - box.top - box.height / 2;
  };

  body.addEventListener("click", (event) => {
    const span = event.target.closest("span.t");
    if (span) onSelect(+span.id.slice(1), false);
  });

  return { show, repaint, select, view, listen: (call) => (onSelect = call) };
})();
