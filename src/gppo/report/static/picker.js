// Choosing an objective and its parameters: a select and one number field for each parameter, rebuilt with the choice.
const picker = (root, start, onChange) => {
  const WORDS = {
    epsilon_low: "ε low", epsilon_high: "ε high", beta_low: "β low", beta_high: "β high",
    tau_positive: "τ for A > 0", tau_negative: "τ for A < 0", ratio_cap: "cap",
  };
  const select = root.querySelector("select");
  const fields = root.querySelector(".fields");
  let settings = { ...start };

  for (const [name, label] of Object.entries(weights.LABELS)) select.add(new Option(label, name));

  const field = (key, label, value, low, high, set) => {
    const box = document.createElement("label");
    const input = document.createElement("input");
    box.append(`${label} `, input);
    Object.assign(input, { type: "number", min: low, max: high, step: value && value < 0.01 ? 1e-4 : 0.01, value, name: key });
    if (key === "dual_clip") input.step = 1;
    input.addEventListener("input", () => {
      const given = input.valueAsNumber;
      const fits = given >= low && given <= high;
      input.setAttribute("aria-invalid", String(!fits));
      if (fits) set(given);
    });
    return box;
  };

  const build = () => {
    select.value = settings.name;
    const params = { ...weights.DEFAULTS[settings.name], ...settings.params };
    const boxes = Object.entries(params).map(([key, value]) =>
      field(key, WORDS[key], value, ...weights.RANGES[key], (given) => {
        settings = { ...settings, params: { ...settings.params, [key]: given } };
        onChange(settings);
      }));
    boxes.push(field("dual_clip", "dual clip, 0 is off", settings.dualClip || 0, 0, 1e6, (given) => {
      settings = { ...settings, dualClip: given > 1 ? given : 0 };
      onChange(settings);
    }));
    fields.replaceChildren(...boxes);
  };

  const set = (now) => {
    settings = { dualClip: 0, keep: false, params: {}, ...now };
    build();
    onChange(settings);
  };
  select.addEventListener("change", () => set({ name: select.value }));
  settings = { dualClip: 0, keep: false, params: {}, ...start };
  build();
  return { set, get: () => settings };
};
