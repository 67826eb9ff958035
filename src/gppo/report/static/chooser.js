// Choosing a rollout: words that must all occur in its step, stage, problem, sample or verdict, and a list of what fits.
const chooser = (onChoose) => {
  const MOST = 400;
  const search = document.getElementById("search");
  const list = document.getElementById("rollout");
  const found = document.getElementById("found");
  let fitting = [], current = 0;

  const name = (one) => {
    const reward = one.reward === null ? "not judged" : `reward ${format.number(one.reward)}`;
    return `step ${one.step} · ${one.problem} #${one.sample} · ${one.verdict || "–"}, ${reward} · ${format.count(one.tokens)} tokens`;
  };

  const narrow = () => {
    // A number is a whole word, or 1 would find step 12 too.
    const asked = search.value.toLowerCase().split(/\s+/).filter(Boolean)
      .map((word) => (/^\d+$/.test(word) ? ` ${word} ` : word));
    fitting = [];
    data.rollouts.forEach((one, k) => {
      if (asked.every((word) => one.words.includes(word))) fitting.push(k);
    });
    const shown = fitting.slice(0, MOST);
    if (!shown.includes(current) && fitting.includes(current)) shown.push(current);
    list.replaceChildren(...shown.map((k) => new Option(name(data.rollouts[k]), k)));
    found.textContent = fitting.length > MOST
      ? `${format.count(fitting.length)} fit, the first ${MOST} are listed`
      : `${format.count(fitting.length)} of ${format.count(data.rollouts.length)} rollouts`;
    if (fitting.length && !fitting.includes(current)) onChoose(fitting[0]);
    list.value = current;
  };

  const step = (by) => {
    const at = fitting.indexOf(current);
    const next = fitting[Math.max(0, Math.min(fitting.length - 1, at + by))];
    if (next !== undefined && next !== current) onChoose(next);
  };

  const show = (k) => {
    current = k;
    if (![...list.options].some((option) => +option.value === k)) list.add(new Option(name(data.rollouts[k]), k));
    list.value = k;
  };

  search.addEventListener("input", narrow);
  list.addEventListener("change", () => onChoose(+list.value));
  document.getElementById("earlier").addEventListener("click", () => step(-1));
  document.getElementById("later").addEventListener("click", () => step(1));
  return { show, narrow };
};
