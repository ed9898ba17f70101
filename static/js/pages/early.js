// Runs before the first paint, so that a sidebar that was closed does not flash.
try {
  document.documentElement.dataset.sidebar = localStorage.getItem("sidebar") ?? "open";
} catch {
  document.documentElement.dataset.sidebar = "open";
}
