// What an objective takes from the tokens, and what another gives back, over one rollout or all of them.
const tally = (() => {
  // Quadrants: the sign of A and the side of the clip range on which the ratio lies. 0 is inside or without advantage.
  const QUADRANTS = ["inside the range", "A > 0, ratio above", "A > 0, ratio below", "A < 0, ratio above", "A < 0, ratio below"];

  const quadrant = (x, A, low, high) => {
    if (Number.isNaN(x) || A === 0) return 0;
    const side = x > high ? 0 : x < low ? 1 : -1;
    return side < 0 ? 0 : 1 + side + (A > 0 ? 0 : 2);
  };

  // The clip range that quadrants are counted against: the objective's, or the paper's where it has none for tokens.
  const range = (settings) => {
    const params = { ...weights.DEFAULTS[settings.name], ...settings.params };
    const own = settings.name !== "gspo" && "epsilon_low" in params;
    const low = own ? params.epsilon_low : 0.2, high = own ? params.epsilon_high : 0.28;
    return [low < 1 ? Math.log1p(-low) : -Infinity, Math.log1p(high)];
  };

  // Goes over the tokens of some rollouts once. `wanted` is a quadrant or -1 for all.
  const of = (rollouts, main, other, settings, wanted) => {
    const [low, high] = range(settings);
    const droppedOf = new Int32Array(data.words.length), seenOf = new Int32Array(data.words.length);
    const takenOf = new Float64Array(data.words.length);
    const quadrants = QUADRANTS.map(() => ({ tokens: 0, dropped: 0 }));
    const sums = { tokens: 0, learned: 0, dropped: 0, raw: 0, rawDropped: 0, other: 0, otherDropped: 0 };
    const found = [];
    for (const rollout of rollouts) {
      const A = rollout.advantage, size = Math.abs(A);
      sums.tokens += rollout.tokens;
      for (let i = rollout.start; i < rollout.end; i++) {
        const x = data.logRatio[i];
        if (Number.isNaN(x)) continue;
        sums.learned++;
        const q = quadrant(x, A, low, high), w = main[i], isDropped = w === 0 && A !== 0;
        quadrants[q].tokens++;
        if (isDropped) quadrants[q].dropped++;
        if (A === 0) continue;
        const pull = Math.exp(weights.saturate(x)) * size;
        sums.raw += pull;
        sums.other += other[i] * size;
        if (isDropped) {
          sums.dropped++;
          sums.rawDropped += pull;
          sums.otherDropped += other[i] * size;
        }
        if (wanted >= 0 && q !== wanted) continue;
        const word = data.wordOf[data.piece[i]];
        seenOf[word]++;
        if (isDropped) {
          droppedOf[word]++;
          takenOf[word] += pull;
        }
        if (isDropped || q !== 0) found.push(i);
      }
    }
    const words = [];
    for (let word = 0; word < droppedOf.length; word++)
      if (droppedOf[word]) words.push({ word, dropped: droppedOf[word], seen: seenOf[word], taken: takenOf[word] });
    words.sort((a, b) => b.dropped - a.dropped || b.taken - a.taken);
    return { sums, quadrants, words, found };
  };

  return { QUADRANTS, of, quadrant, range };
})();
