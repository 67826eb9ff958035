// Colours of tokens. Every tint keeps the text on it readable (contrast above 4.5) in both themes; a test measures it.
const colour = (() => {
  const STEPS = 8;
  const TONES = {
    light: { card: [255, 255, 255], up: [250, 164, 98], down: [146, 180, 252], give: [112, 214, 170], take: [250, 160, 150], entropy: [206, 172, 252] },
    dark: { card: [26, 29, 33], up: [146, 74, 24], down: [44, 80, 164], give: [14, 106, 76], take: [150, 50, 46], entropy: [102, 62, 160] },
  };
  const MODES = {
    weight: { label: "Weight", low: "down", high: "up", ends: ["¼ or less", "1", "4 or more"] },
    difference: { label: "Difference", low: "take", high: "give", ends: ["−1", "0", "+1"] },
    ratio: { label: "Ratio", low: "down", high: "up", ends: ["½ or less", "1", "2 or more"] },
    advantage: { label: "Advantage", low: "take", high: "give", ends: ["−2", "0", "+2"] },
    entropy: { label: "Entropy", low: "entropy", high: "entropy", ends: ["", "0", "high"] },
  };

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  const mix = (from, to, share) => `rgb(${from.map((value, k) => Math.round(value + (to[k] - value) * share)).join(",")})`;

  // 17 colours from level -8 to 8; level 0 is "" (no tint).
  const palette = (mode) => {
    const tones = TONES[theme()], { low, high } = MODES[mode];
    return Array.from({ length: 2 * STEPS + 1 }, (_, k) => {
      const level = k - STEPS;
      return level === 0 ? "" : mix(tones.card, tones[level < 0 ? low : high], Math.abs(level) / STEPS);
    });
  };

  const clamp = (value) => Math.max(-STEPS, Math.min(STEPS, Math.round(value)));
  // A value of a token as a level. A token far from neutral must not round to none.
  const LEVELS = {
    weight: (w) => (w > 0 ? clamp((STEPS * Math.log2(w)) / 2) : 0),  // dropped tokens are hatched
    difference: (d) => (d === 0 ? 0 : clamp(STEPS * d) || Math.sign(d)),
    ratio: (x) => clamp((STEPS * x) / Math.LN2),
    advantage: (A) => (A === 0 ? 0 : clamp((STEPS * A) / 2) || Math.sign(A)),
    entropy: (h) => clamp((STEPS * h) / data.entropyTop),
  };

  return { MODES, LEVELS, STEPS, palette, theme, dark };
})();
