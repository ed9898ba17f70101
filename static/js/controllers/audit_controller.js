import { Controller } from "vendor/stimulus";
import { eventLine, makeRow, moment, openApi, PagedList, PAUSE } from "models/rows";

/** The log of a workspace, newest first. */
export default class extends Controller {
  static targets = ["list", "search", "empty", "more"];
  static values = { api: String };

  connect() {
    this.list = new PagedList({ api: openApi(), path: `${this.apiValue}audit/`, draw: (found, page) => this.#draw(found, page) });
    this.look();
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), PAUSE);
  }

  look() {
    return this.#read(() => this.list.search(this.searchTarget.value.trim()));
  }

  more() {
    return this.#read(() => this.list.more());
  }

  async #read(act) {
    try {
      await act();
    } catch (error) {
      this.#say(error.message);
    }
  }

  #draw({ results, next, total }, page) {
    const rows = results.map(eventRow);
    if (page === 1) this.listTarget.replaceChildren(...rows);
    else this.listTarget.append(...rows);
    this.listTarget.ariaBusy = "false";
    this.moreTarget.hidden = next === null;
    this.#say(total > 0 ? "" : "Nothing that needed a right has been done yet.");
  }

  #say(words) {
    this.emptyTarget.hidden = !words;
    this.emptyTarget.textContent = words;
  }
}

function eventRow(event) {
  const { row, parts } = makeRow("event-row");
  const { words, changes } = eventLine(event);
  parts.act.textContent = words;
  parts.more.textContent = [event.by ?? "nobody logged in", event.address, changes].filter(Boolean).join(" · ");
  parts.at.textContent = moment(event.at);
  parts.at.dateTime = event.at;
  return row;
}
