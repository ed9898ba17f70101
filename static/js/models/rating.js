/**
 * What a person says about answers: {value: 1 | -1, reasons, comment}, or null. Reasons belong to one side; those of the
 * other are kept here, as long as the page lives, until they are replaced. A thumb loses nothing that was written.
 */
export class Ratings {
  #reasons = new Map(); // "<message> <value>" -> reasons

  /** `show(message, rating)` draws a rating (message is an id); `complain(words)` says why one was not saved. */
  constructor({ api, show, complain }) {
    Object.assign(this, { api, show, complain });
  }

  /** The rating with this thumb: the comment stays, and the reasons are those that were given on this side. */
  turned(message, rating, value) {
    this.#remember(message, rating);
    return { value, reasons: this.#reasons.get(`${message} ${value}`) ?? [], comment: rating?.comment ?? "" };
  }

  put(message, rating, before) {
    return this.#change(message, rating, before, this.api.put(pathOf(message), rating));
  }

  remove(message, before) {
    return this.#change(message, null, before, this.api.delete(pathOf(message)));
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
