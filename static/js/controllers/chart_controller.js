import { Controller } from "vendor/stimulus";

/** Bars over the days of the table beside it, oldest first. A day without use has no bar, not one of height zero. */
export default class extends Controller {
  static targets = ["plot", "day"];

  connect() {
    const most = Math.max(...this.dayTargets.map(({ dataset }) => Number(dataset.tokens ?? 0)));
    if (most === 0) return;
    const days = this.dayTargets.toReversed().map(({ dataset }) => column(dataset, most));
    this.plotTarget.replaceChildren(...days);
  }
}

function column({ label, tokens }, most) {
  const day = document.createElement("div");
  day.className = "chart-day";
  day.title = tokens === undefined ? `${label}: no use` : `${label}: ${Number(tokens).toLocaleString("en")} tokens`;
  if (tokens === undefined) return day;
  const bar = document.createElement("div");
  bar.className = "chart-bar";
  bar.style.blockSize = `${(100 * Number(tokens)) / most}%`;
  day.append(bar);
  return day;
}
