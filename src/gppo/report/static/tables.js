// The tables: quadrants, words, tokens. They are made anew when the objective, the filter or the rollout changes.
const tables = (() => {
  const ROWS = 60;
  const { cell, row, count, share, number } = format;
  const byId = (id) => document.getElementById(id);

  const summary = (result, main, other, everything) => {
    const { sums } = result;
    const name = weights.LABELS[main.name], beside = weights.LABELS[other.name];
    byId("verdict").textContent = sums.learned
      ? `${name} drops ${count(sums.dropped)} of ${count(sums.learned)} tokens (${share(sums.dropped, sums.learned)}). Without clipping ` +
        `they would be ${share(sums.rawDropped, sums.raw)} of the pull Σ|w·A|; under ${beside} they are ${share(sums.otherDropped, sums.other)}.`
      : "No token here took part in an update: its group had no advantage, and was dropped.";
    byId("scope-words").textContent = everything
      ? `All ${count(data.rollouts.length)} rollouts of this page.` : "This rollout only.";
    byId("quadrants").replaceChildren(...result.quadrants.map((one, q) => row(
      cell("th", tally.QUADRANTS[q]), cell("td", count(one.tokens), "n"), cell("td", share(one.tokens, sums.learned), "n"),
      cell("td", count(one.dropped), "n"),
    )));
    byId("words").replaceChildren(...result.words.slice(0, ROWS).map((one) => row(
      cell("th", data.shown(data.words[one.word]), "piece"), cell("td", count(one.dropped), "n"),
      cell("td", `${share(one.dropped, one.seen)} of ${count(one.seen)}`, "n"), cell("td", number(one.taken), "n"),
    )));
    byId("no-words").hidden = result.words.length > 0;
  };

  const SORTS = {
    taken: { label: "most taken away", of: (i, A, wMain) => Math.abs(A) * (Math.exp(data.logRatio[i]) - wMain[i]) },
    given: { label: "most given back", of: (i, A, wMain, wOther) => Math.abs(A) * (wOther[i] - wMain[i]) },
    ratio: { label: "ratio farthest from 1", of: (i) => Math.abs(data.logRatio[i]) },
    entropy: { label: "highest entropy", of: (i) => data.entropy[i] },
  };

  const rolloutOf = (i) => {
    let low = 0, high = data.rollouts.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (data.rollouts[middle].end <= i) low = middle + 1; else high = middle;
    }
    return low;
  };

  // Tokens outside the range or dropped, best first. Sorting keys are looked up once.
  const tokens = (result, sort, wMain, wOther, onGo) => {
    const keyed = result.found.map((i) => {
      const k = rolloutOf(i);
      return { i, k, value: SORTS[sort].of(i, data.rollouts[k].advantage, wMain, wOther) };
    });
    keyed.sort((a, b) => b.value - a.value || a.i - b.i);
    byId("outside").replaceChildren(...keyed.slice(0, ROWS).map(({ i, k }) => {
      const one = data.rollouts[k];
      const go = cell("button", data.shown(data.pieces[data.piece[i]]), "piece");
      go.type = "button";
      go.setAttribute("aria-label", `Go to token ${i - one.start}, ${data.pieces[data.piece[i]]}, of ${one.problem}`);
      go.addEventListener("click", () => onGo(k, i));
      const head = document.createElement("th");
      head.append(go);
      return row(
        head, cell("td", number(Math.exp(data.logRatio[i])), "n"), cell("td", number(one.advantage), "n"),
        cell("td", number(wMain[i]), "n"), cell("td", number(wOther[i]), "n"), cell("td", `${one.step} · ${one.problem} #${one.sample}`),
      );
    }));
    byId("outside-words").textContent = keyed.length > ROWS
      ? `${count(keyed.length)} tokens, the first ${ROWS} are shown.` : `${count(keyed.length)} tokens.`;
  };

  return { summary, tokens, SORTS, rolloutOf };
})();
