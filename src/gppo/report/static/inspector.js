// One token: what is known about it, and the weight that each of the nine objectives gives it.
const inspector = (() => {
  const { cell, row, number } = format;
  const box = document.getElementById("token");
  const nine = document.getElementById("nine");
  const one = new Float64Array(1);

  const facts = (i, rollout, settings) => {
    const x = data.logRatio[i], r = Math.exp(weights.saturate(x));
    const [low, high] = tally.range(settings);
    const learned = !Number.isNaN(x);
    return [
      ["Token", `${i - rollout.start + 1} of ${format.count(rollout.tokens)}`],
      ["Probability when sampled", number(Math.exp(data.old[i]))],
      ["Probability at its last update", learned ? number(Math.exp(data.old[i] + x)) : "no update saw it"],
      ["Ratio", learned ? number(r) : "–"],
      ["Log-ratio, nats", learned ? number(x) : "–"],
      ["Advantage", number(rollout.advantage)],
      ["Entropy, nats", learned ? number(data.entropy[i]) : "–"],
      ["Where", learned ? tally.QUADRANTS[tally.quadrant(x, rollout.advantage, low, high)] : "–"],
    ];
  };

  const weightOf = (settings, i, rollout) => {
    if (settings.name === "gspo") {
      const all = new Float64Array(rollout.end);
      weights.fill(settings, data.logRatio, data.old, rollout.advantage, rollout.start, rollout.end, all);
      return all[i];
    }
    weights.fill(settings, [data.logRatio[i]], [data.old[i]], rollout.advantage, 0, 1, one);
    return one[0];
  };

  const show = (i, rollout, main, other) => {
    document.getElementById("piece").textContent = i < 0 ? "No token chosen" : data.shown(data.pieces[data.piece[i]]);
    if (i < 0) {
      box.replaceChildren();
      nine.replaceChildren();
      return;
    }
    box.replaceChildren(...facts(i, rollout, main).map(([name, value]) => {
      const pair = document.createElement("div");
      pair.append(cell("dt", name), cell("dd", value));
      return pair;
    }));
    nine.replaceChildren(...Object.entries(weights.LABELS).map(([name, label]) => {
      const settings = [main, other].find((chosen) => chosen.name === name) || { name };
      const w = weightOf(settings, i, rollout);
      const mark = settings === main ? " ●" : settings === other ? " ○" : "";
      return row(cell("th", label + mark), cell("td", number(w), w === 0 && rollout.advantage ? "n zero" : "n"),
        cell("td", number(w * rollout.advantage), "n"));
    }));
  };

  return { show };
})();
