// Wires the page to the microscope and shows the first rollout.
(() => {
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const radios = (name, call) =>
    document.querySelectorAll(`input[name="${name}"]`).forEach((input) =>
      input.addEventListener("change", () => input.checked && call(input.value)));

  radios("mode", (mode) => { app.state.mode = mode; app.paint(); });
  radios("scope", (scope) => { app.state.everything = scope === "all"; app.count(); });
  const quadrant = byId("quadrant");
  quadrant.add(new Option("all quadrants", -1));
  tally.QUADRANTS.slice(1).forEach((name, k) => quadrant.add(new Option(name, k + 1)));
  quadrant.addEventListener("change", () => { app.state.quadrant = +quadrant.value; app.count(); });
  const sort = byId("sort");
  for (const [name, { label }] of Object.entries(tables.SORTS)) sort.add(new Option(label, name));
  sort.addEventListener("change", () => { app.state.sort = sort.value; app.count(); });

  byId("next").addEventListener("click", () => app.jump(1));
  byId("previous").addEventListener("click", () => app.jump(-1));
  text.view.addEventListener("keydown", app.keys);
  text.listen(app.select);
  strip.listen((i) => app.select(i));
  addEventListener("hashchange", () => { const k = app.asked(); if (k !== null && k !== app.state.rollout) app.choose(k); });
  new ResizeObserver(() => app.paint()).observe(byId("strip"));

  const button = byId("theme");
  const say = () => {
    const dark = colour.theme() === "dark";
    button.textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to the ${dark ? "light" : "dark"} theme`);
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = colour.theme() === "dark" ? "light" : "dark";
    try { localStorage.setItem("gppo-theme", root.dataset.theme); } catch { /* the choice then lasts for this visit */ }
    say();
    app.paint();
  });
  colour.dark.addEventListener("change", () => { say(); app.paint(); });

  say();
  app.list.narrow();
  const first = app.asked();
  app.choose(first ?? data.run.first);
  globalThis.microscope = app;
  root.dataset.ready = "yes";
})();
