/**
 * What a person says about answers: {value: 1 | -1, reasons, comment}, or null. Reasons belong to one side; those of the
 * other are kept here, as long as the page lives, until they are replaced or the rating is removed. A thumb loses nothing
 * that was written, and neither does a failure to save it.
 */
export class Ratings {
  #reasons = new Map(); // "<message> <value>" -> reasons
  #unsaved = new Map(); // message -> the rating that did not reach the server

  /** `show(message, rating)` draws a rating (message is an id); `complain(words)` says why one was not saved. */
  constructor({ api, show, complain }) {
    Object.assign(this, { api, show, complain });
  }

  /** The rating with this thumb: the comment stays, and the reasons are those that were given on this side. */
  turned(message, rating, value) {
    const said = this.unsaved(message, rating) ?? rating;
    this.#remember(message, said);
    return { value, reasons: this.#reasons.get(`${message} ${value}`) ?? [], comment: said?.comment ?? "" };
  }

  /** What was said with the thumb of `rating` and is not in it, because it could not be saved; or null. */
  unsaved(message, rating) {
    const said = this.#unsaved.get(message);
    return said && said.value === rating?.value ? said : null;
  }

  async put(message, rating, before) {
    const saved = await this.#change(message, rating, before, this.api.put(pathOf(message), rating));
    if (saved) this.#unsaved.delete(message);
    else this.#unsaved.set(message, rating);
    return saved;
  }

  /** Nothing of it comes back afterwards. */
  async remove(message, before) {
    this.#forget(message);
    const removed = await this.#change(message, null, before, this.api.delete(pathOf(message)));
    if (!removed) this.#remember(message, before);
    return removed;
  }

  #forget(message) {
    this.#unsaved.delete(message);
    for (const value of [1, -1]) this.#reasons.delete(`${message} ${value}`);
  }

  #remember(message, rating) {
    if (rating) this.#reasons.set(`${message} ${rating.value}`, rating.reasons);
  }

  /** Show `rating` at once, and the one before it again when the server refuses. Returns whether it was saved. */
  async #change(message, rating, before, request) {
    this.show(message, rating);
    try {
      await request;
      this.#remember(message, rating);
      return true;
    } catch (error) {
      this.show(message, before);
      this.complain(error.message);
      return false;
    }
  }
}

function pathOf(message) {
  return `messages/${message}/rating/`;
}

/** Whether two ratings say the same. The order in which reasons were ticked is not a part of it. */
export function same(one, other) {
  return parts(one) === parts(other);
}

export function wordless({ reasons, comment }) {
  return reasons.length === 0 && comment === "";
}

function parts({ value, reasons, comment }) {
  return JSON.stringify([value, [...reasons].sort(), comment]);
}
