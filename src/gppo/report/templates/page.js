(() => {
  const root = document.documentElement;
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)").matches;
  const config = {
    displaylogo: false, displayModeBar: false, responsive: true, scrollZoom: false,
  };

  // Colours are written as names of CSS variables, so that one figure serves both themes.
  const paint = (value, css) => {
    if (typeof value === "string") {
      if (!value.startsWith("--")) return value;
      // "-band" is the same colour, thin: the space around a curve.
      const tone = css.getPropertyValue(value.replace(/-band$/, "")).trim();
      return value.endsWith("-band") ? `${tone}2e` : tone;
    }
    if (Array.isArray(value)) return value.map((inner) => paint(inner, css));
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, paint(inner, css)]));
    return value;
  };

  const axis = (own) => ({
    automargin: true, gridcolor: "--grid", linecolor: "--line", zeroline: false, ticks: "", exponentformat: "power", fixedrange: touch,
    ...own, title: { standoff: 8, font: { size: 12 }, ...(own?.title) },
  });

  const layoutOf = (own) => ({
    ...own,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "--ink-2" },
    margin: { l: 8, r: 12, t: own.showlegend ? 34 : 12, b: 8 },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1, yanchor: "bottom", font: { size: 12 }, traceorder: "normal" },
    hovermode: own.yaxis?.type === "category" ? "closest" : "x unified",
    hoverlabel: { bgcolor: "--card", bordercolor: "--line", font: { color: "--ink", size: 12 } },
    dragmode: touch ? false : "zoom",
    xaxis: axis(own.xaxis), yaxis: axis(own.yaxis),
  });

  // With "printing" set the width is given, as paper does not wait for a chart that measures itself.
  const draw = () => {
    const css = getComputedStyle(root);
    const printing = root.classList.contains("printing");
    for (const [id, figure] of Object.entries(charts)) {
      const place = document.getElementById(`plot-${id}`);
      const layout = paint(layoutOf(figure.layout), css);
      if (printing) layout.width = place.clientWidth;
      Plotly.react(place, paint(figure.data, css), layout, config);
    }
  };

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const button = document.getElementById("theme");
  const say = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("gppo-theme", root.dataset.theme); } catch { /* the choice then lasts for this visit */ }
    say();
    draw();
  });
  dark.addEventListener("change", () => { say(); draw(); });

  // Paper is white and narrower than most screens.
  let screenTheme;
  addEventListener("beforeprint", () => {
    screenTheme = root.dataset.theme;
    root.dataset.theme = "light";
    root.classList.add("printing");
    draw();
  });
  addEventListener("afterprint", () => {
    if (screenTheme) root.dataset.theme = screenTheme; else delete root.dataset.theme;
    root.classList.remove("printing");
    draw();
    for (const id of Object.keys(charts)) Plotly.Plots.resize(`plot-${id}`);
  });

  say();
  draw();
  root.dataset.ready = "yes";
})();
