import { Controller } from "vendor/stimulus";

/** Reads one day of the chart out: the one under the pointer, or the one the arrow keys have reached. */
export default class extends Controller {
  static targets = ["plot", "day", "summary", "legend"];

  connect() {
    // The summary takes over from the slow tooltips of the browser.
    for (const title of this.plotTarget.querySelectorAll("title")) title.remove();
  }

  show({ currentTarget }) {
    this.select(this.dayTargets.indexOf(currentTarget));
  }

  earlier() {
    this.select(Math.max(0, (this.index ?? this.dayTargets.length) - 1));
  }

  later() {
    this.select(Math.min(this.dayTargets.length - 1, (this.index ?? -1) + 1));
  }

  rest() {
    if (document.activeElement !== this.plotTarget) this.select(undefined);
  }

  select(index) {
    this.dayTargets[this.index]?.classList.remove("chart-strip-read");
    this.index = index;
    const day = this.dayTargets[index];
    day?.classList.add("chart-strip-read");
    this.summaryTarget.textContent = day?.dataset.summary ?? "";
    this.legendTarget.classList.toggle("chart-legend-away", Boolean(day));
  }
}
