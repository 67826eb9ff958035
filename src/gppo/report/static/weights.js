// The objectives as weights of tokens: the twin of gppo/objectives/weights.py, held equal to it by a test.
// x is log pi - log pi_old in nats, A the advantage, q the old log-probability, mean the row's mean x (gspo).
const weights = (() => {
  const LIMIT = 20;
  const DEFAULTS = {
    ppo: { epsilon_low: 0.2, epsilon_high: 0.2 },
    clip_higher: { epsilon_low: 0.2, epsilon_high: 0.28 },
    gppo: { epsilon_low: 0.2, epsilon_high: 0.28, beta_low: 1, beta_high: 1 },
    ce_gppo: { epsilon_low: 0.2, epsilon_high: 0.2, beta_low: 0.75, beta_high: 1 },
    cispo: { epsilon_low: 0.2, epsilon_high: 0.28 },
    gspo: { epsilon_low: 3e-4, epsilon_high: 4e-4 },
    sapo: { tau_positive: 1, tau_negative: 1.05 },
    aspo: { epsilon_low: 0.2, epsilon_high: 0.28, ratio_cap: 3 },
    dcpo: { epsilon_low: 0.16, epsilon_high: 0.2, ratio_cap: 10 },
  };
  const LABELS = {
    ppo: "PPO", clip_higher: "Clip-Higher", gppo: "GPPO", ce_gppo: "CE-GPPO", cispo: "CISPO", gspo: "GSPO",
    sapo: "SAPO", aspo: "ASPO", dcpo: "DCPO",
  };
  const RANGES = {
    epsilon_low: [0, 1], epsilon_high: [0, 1e6], beta_low: [0, 1e6], beta_high: [0, 1e6],
    tau_positive: [1e-6, 1e6], tau_negative: [1e-6, 1e6], ratio_cap: [1, 1e6],
  };

  const saturate = (x) => Math.min(LIMIT, Math.max(-LIMIT, x));
  const logLow = (p) => (p.epsilon_low < 1 ? Math.log1p(-p.epsilon_low) : -Infinity);
  const logHigh = (p) => Math.log1p(p.epsilon_high);
  const logSigmoid = (z) => (z >= 0 ? -Math.log1p(Math.exp(-z)) : z - Math.log1p(Math.exp(z)));

  // The ratio; `above` where A > 0 lies over the upper bound, `below` where A < 0 lies under the lower one.
  const oneSided = (low, high, below, above) => (x, A) =>
    A > 0 && x > high ? above : A < 0 && x < low ? below : Math.exp(x);
  const bounded = (p) => oneSided(logLow(p), logHigh(p), 0, 0);
  const preserving = (p) =>
    oneSided(logLow(p), logHigh(p), p.beta_low * (1 - p.epsilon_low), p.beta_high * (1 + p.epsilon_high));

  const FORMULAS = {
    ppo: bounded,
    clip_higher: bounded,
    gppo: preserving,
    ce_gppo: preserving,
    cispo: (p) => {
      const low = logLow(p), high = logHigh(p);
      return (x) => Math.exp(Math.min(high, Math.max(low, x)));
    },
    gspo: (p) => {
      const weigh = bounded(p);
      return (x, A, q, mean) => weigh(mean, A);
    },
    sapo: (p) => (x, A) => {
      const z = (A > 0 ? p.tau_positive : p.tau_negative) * Math.expm1(x);
      return Math.exp(x + Math.log(4) + logSigmoid(z) + logSigmoid(-z));
    },
    aspo: (p) => {
      const low = logLow(p), high = logHigh(p), cap = Math.log(p.ratio_cap);
      return (x, A) => ((A > 0 && x > high) || (A < 0 && x < low) ? 0 : Math.exp(Math.min(cap, A > 0 ? -x : x)));
    },
    dcpo: (p) => (x, A, q) => {
      const inverse = Math.exp(Math.min(80, Math.max(0, Number.isNaN(q) ? 0 : -q)));
      if (A > 0) {
        const high = Math.min(p.ratio_cap, 0.5 + 0.5 * Math.sqrt(1 + 4 * p.epsilon_high * inverse));
        return x > Math.log(high) ? 0 : Math.exp(x);
      }
      const low = 0.5 + 0.5 * Math.sqrt(Math.max(0, 1 - 4 * p.epsilon_low * inverse));
      return A < 0 && x < Math.log(low) ? 0 : Math.exp(x);
    },
  };

  // Weights of one response: its log-ratios and old log-probabilities from `from` to `to`, into `out` at the same
  // places. `settings` is {name, params, dualClip, keep}; dualClip 0 is off. A token without a log-ratio gets 0.
  const fill = (settings, logRatio, old, A, from, to, out) => {
    const formula = FORMULAS[settings.name]({ ...DEFAULTS[settings.name], ...settings.params });
    const dual = settings.dualClip ? Math.log(settings.dualClip) : Infinity;
    const valid = Number.isFinite(A);
    let mean = 0;
    if (settings.name === "gspo") {
      let sum = 0, count = 0;
      for (let i = from; i < to; i++) {
        if (Number.isNaN(logRatio[i])) continue;
        sum += saturate(logRatio[i]);
        count++;
      }
      mean = sum / Math.max(count, 1);
    }
    for (let i = from; i < to; i++) {
      const x = logRatio[i];
      if (!valid || Number.isNaN(x)) { out[i] = 0; continue; }
      const w = formula(saturate(x), A, old[i], mean);
      out[i] = A < 0 && x > dual ? (settings.keep ? Math.min(w, settings.dualClip) : 0) : w;
    }
  };

  return { DEFAULTS, LABELS, RANGES, LIMIT, fill, saturate };
})();
