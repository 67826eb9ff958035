// What the page was made with: rollouts, and for every token of them its piece, old log-probability, log-ratio, entropy.
const data = (() => {
  const raw = JSON.parse(document.getElementById("rollouts").textContent);

  const buffer = (base64) => {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes.buffer;
  };

  const piece = raw.wide ? new Uint32Array(buffer(raw.tokens)) : new Uint16Array(buffer(raw.tokens));
  const old = new Float32Array(buffer(raw.old));
  const logRatio = new Float32Array(buffer(raw.log_ratio));
  const entropy = new Float32Array(buffer(raw.entropy));

  // Pieces that differ only in case and in the space around them count as one word.
  const words = [];
  const byWord = new Map();
  const wordOf = Int32Array.from(raw.pieces, (text) => {
    const word = text.trim().toLowerCase() || text;
    if (!byWord.has(word)) {
      byWord.set(word, words.length);
      words.push(word);
    }
    return byWord.get(word);
  });

  let start = 0;
  const rollouts = raw.rollouts.map((one) => {
    const rollout = { ...one, start, end: start + one.tokens, prompt: raw.prompts[one.prompt] };
    const words = ["step", one.step, one.stage, one.problem, "sample", one.sample, one.verdict, one.difficulty];
    rollout.words = ` ${words.join(" ")} `.toLowerCase();
    start = rollout.end;
    return rollout;
  });

  const sortedEntropy = entropy.filter((value) => value > 0).sort();
  const entropyTop = sortedEntropy.length ? sortedEntropy[Math.floor(0.99 * (sortedEntropy.length - 1))] : 1;

  // Whitespace has no shape of its own in a list of words.
  const shown = (text) => text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "␣") || "∅";

  return {
    run: raw.run, pieces: raw.pieces, piece, old, logRatio, entropy, entropyTop, rollouts, words, wordOf, shown,
    count: piece.length,
  };
})();
