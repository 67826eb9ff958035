// Runs before the first paint: the chosen theme, or the system's where none was chosen.
(() => {
  const asked = new URLSearchParams(location.search).get("theme");
  let theme = asked;
  try { theme = asked || localStorage.getItem("gppo-theme"); } catch { /* storage is closed for files in some browsers */ }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
