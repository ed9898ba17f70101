/** A list that the server gives out in pages, each with the address of the next: {results, next}. */
export class Pages {
  #asking = false;

  /** `next` is the path of the first page below the API's base. */
  constructor(api, next) {
    Object.assign(this, { api, next });
  }

  /** Whether the next page is on its way. */
  get asking() {
    return this.#asking;
  }

  get done() {
    return this.next === null;
  }

  /** The time before which the next page begins, as the server writes it; none before the first and after the last. */
  get since() {
    return new URLSearchParams(this.next?.split("?")[1]).get("before");
  }

  /** The results of the next page; none while one is asked for already. Throws ApiError, after which it may be asked again. */
  async more() {
    if (this.#asking || this.done) return [];
    this.#asking = true;
    try {
      const { results, next } = await this.api.get(this.next);
      this.next = next && next.slice(next.indexOf(this.api.base) + this.api.base.length);
      return results;
    } finally {
      this.#asking = false;
    }
  }
}
