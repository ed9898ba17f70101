import { Controller } from "vendor/stimulus";

/** Sorts a table by the column whose heading is pressed: numbers from the largest, words from A. What is empty stays last. */
export default class extends Controller {
  connect() {
    this.headings = [...this.element.tHead.rows[0].cells];
    for (const heading of this.headings.filter((cell) => cell.scope === "col")) this.makeButton(heading);
  }

  makeButton(heading) {
    if (heading.querySelector("button")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.dataset.action = "report-table#sort";
    heading.append(button);
  }

  sort({ currentTarget }) {
    const heading = currentTarget.closest("th");
    const column = this.headings.indexOf(heading);
    const sign = this.direction(heading, column);
    const rows = [...this.element.tBodies[0].rows];
    rows.sort((a, b) => compare(value(a, column), value(b, column), sign));
    this.element.tBodies[0].append(...rows);
    for (const other of this.headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  }

  /** The other way round when the column is sorted already. */
  direction(heading, column) {
    const sorted = heading.getAttribute("aria-sort");
    if (sorted) return sorted === "ascending" ? -1 : 1;
    const filled = [...this.element.tBodies[0].rows].map((row) => value(row, column)).find((text) => text !== "");
    return filled !== undefined && !Number.isNaN(Number(filled)) ? -1 : 1;
  }
}

function value(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
}

function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const numbers = Number(a) - Number(b);
  return sign * (Number.isNaN(numbers) ? a.localeCompare(b) : numbers);
}
