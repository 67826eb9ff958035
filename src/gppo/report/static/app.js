// The microscope: what is chosen, and what follows from it. Weights of all tokens are kept for two objectives; a choice
// computes them anew and repaints what can be seen.
const app = (() => {
  const byId = (id) => document.getElementById(id);
  const wMain = new Float64Array(data.count), wOther = new Float64Array(data.count);
  const state = { rollout: 0, mode: "weight", quadrant: -1, everything: true, sort: "taken", token: -1 };
  let tints, result, rest = 0;

  const rollout = () => data.rollouts[state.rollout];

  const weigh = (settings, out) => {
    for (const one of data.rollouts) weights.fill(settings, data.logRatio, data.old, one.advantage, one.start, one.end, out);
  };

  const value = (i, A) => {
    switch (state.mode) {
      case "weight": return wMain[i];
      case "difference": return wOther[i] - wMain[i];
      case "ratio": return data.logRatio[i];
      case "advantage": return A;
      default: return data.entropy[i];
    }
  };

  // Levels and flags of the rollout's tokens.
  const tint = () => {
    const { start, end, advantage: A } = rollout();
    const levels = new Int8Array(end - start), flags = new Uint8Array(end - start);
    const level = colour.LEVELS[state.mode];
    for (let i = start; i < end; i++) {
      if (Number.isNaN(data.logRatio[i])) { flags[i - start] = 4; continue; }
      const dropped = wMain[i] === 0 && A !== 0;
      flags[i - start] = (dropped ? 1 : 0) | (dropped && wOther[i] > 0 ? 2 : 0);
      levels[i - start] = A === 0 && state.mode !== "ratio" && state.mode !== "entropy" ? 0 : level(value(i, A));
    }
    return { levels, flags, palette: colour.palette(state.mode) };
  };

  const legend = () => {
    const palette = colour.palette(state.mode), { ends } = colour.MODES[state.mode];
    const boxes = (tones) => tones.map((tone) => {
      const box = document.createElement("i");
      box.style.backgroundColor = tone;
      return box;
    });
    byId("below").replaceChildren(...(state.mode === "entropy" ? [] : boxes(palette.slice(0, colour.STEPS))));
    byId("above").replaceChildren(...boxes(palette.slice(colour.STEPS + 1)));
    ["low", "middle", "high"].forEach((place, k) => (byId(`scale-${place}`).textContent = ends[k]));
  };

  const paint = () => {
    tints = tint();
    text.repaint(tints);
    strip.draw(rollout(), tints);
    legend();
  };

  // The tables are not what the eye is on: they follow in the next task, so that the text changes first.
  const count = () => {
    clearTimeout(rest);
    rest = setTimeout(countNow);
  };
  const countNow = () => {
    clearTimeout(rest);
    const some = state.everything ? data.rollouts : [rollout()];
    result = tally.of(some, wMain, wOther, main.get(), state.quadrant);
    tables.summary(result, main.get(), other.get(), state.everything);
    tables.tokens(result, state.sort, wMain, wOther, (k, i) => {
      if (k !== state.rollout) choose(k);
      select(i);
      text.view.focus({ preventScroll: true });
      text.view.scrollIntoView({ block: "nearest" });
    });
    inspector.show(state.token, rollout(), main.get(), other.get());
  };

  const describe = () => {
    const one = rollout();
    byId("prompt").textContent = one.prompt;
    const words = [
      ["Reward", one.reward === null ? "not judged" : format.number(one.reward)], ["Verdict", one.verdict || "–"],
      ["Advantage", one.learned ? format.number(one.advantage) : "none: no update saw it"],
      ["Answer found", one.extracted || "none"], ["Right answer", one.truth || "–"],
      ["Ended", one.truncated ? "cut at the limit" : "by itself"],
    ];
    byId("facts").replaceChildren(...words.map(([name, text]) => {
      const pair = document.createElement("div");
      pair.append(format.cell("dt", name), format.cell("dd", text));
      return pair;
    }));
  };

  const select = (i, scroll = true) => {
    state.token = i;
    text.select(i, scroll);
    inspector.show(i, rollout(), main.get(), other.get());
  };

  const choose = (k) => {
    state.rollout = k;
    state.token = -1;
    list.show(k);
    describe();
    tints = tint();
    text.show(rollout(), tints);
    strip.draw(rollout(), tints);
    const lost = tints.flags.findIndex((flag) => flag & 1);
    if (lost >= 0) select(rollout().start + lost, false);
    count();
    const one = rollout();
    history.replaceState(null, "", `#${new URLSearchParams({ step: one.step, problem: one.problem, sample: one.sample })}`);
  };

  const recompute = (settings, out) => {
    weigh(settings, out);
    paint();
    count();
  };

  // The next or previous dropped token from the one chosen; none where there is none.
  const jump = (by) => {
    const { start, end } = rollout();
    for (let i = (state.token < 0 ? (by > 0 ? start - 1 : end) : state.token) + by; i >= start && i < end; i += by)
      if (tints.flags[i - start] & 1) return select(i);
    return undefined;
  };

  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { start, end } = rollout();
    const at = state.token;
    const moves = {
      ArrowRight: () => select(Math.min(end - 1, at < 0 ? start : at + 1)),
      ArrowLeft: () => select(Math.max(start, at < 0 ? start : at - 1)),
      Home: () => select(start), End: () => select(end - 1), n: () => jump(1), p: () => jump(-1),
    };
    if (!moves[event.key] || start === end) return;
    event.preventDefault();
    moves[event.key]();
  };

  const asked = () => {
    const words = new URLSearchParams(location.hash.slice(1));
    const fits = (one) => ["step", "problem", "sample"].every((key) => !words.has(key) || String(one[key]) === words.get(key));
    return words.size ? Math.max(0, data.rollouts.findIndex(fits)) : null;
  };

  // What Clip-Higher drops, and what the run's own objective gives back; GPPO where the run's is Clip-Higher itself.
  const own = data.run.objective, plain = own.name === "clip_higher";
  const main = picker(byId("main"), plain ? own : { name: "clip_higher" }, (now) => recompute(now, wMain));
  const other = picker(byId("other"), plain ? { name: "gppo" } : own, (now) => recompute(now, wOther));
  const list = chooser(choose);
  weigh(main.get(), wMain);
  weigh(other.get(), wOther);

  return {
    state, data, weights, tally, wMain, wOther, list, choose, select, jump, keys, paint, count, countNow, asked,
    tints: () => tints, result: () => result,
  };
})();
