/** A list that the server gives out in pages, each with the address of the next: {results, next}. */
export class Pages {
  #asking = false;

  /** `next` is the path of the first page below the API's base. */
  constructor(api, next) {
    Object.assign(this, { api, next });
  }

  get done() {
    return this.next === null;
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
