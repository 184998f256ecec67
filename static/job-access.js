// Access to one job: its URLs, and the ticket that a page without a session needs for them.

import { request, Unreachable } from "./stream.js";

/**
 * Gets a ticket from the page's own backend. After a TypeError, which `fetch` throws without a connection, it is
 * called again later; any other error is final.
 *
 * @typedef {() => string | Promise<string>} GetTicket
 */

/** No ticket could be obtained; `cause` is the error thrown by `getTicket`. */
export class NoTicket extends Error {}

export class JobAccess {
  #status;
  #getTicket;
  /** @type {Promise<void> | null} */
  #renewing = null;

  /**
   * @param {string | URL} url  the job's `statusUrl` or `progressUrl`; with `?ticket=` if it needs one
   * @param {GetTicket} [getTicket]
   */
  constructor(url, getTicket) {
    const status = new URL(url, globalThis.document?.baseURI ?? location.href);
    status.pathname = status.pathname.replace(/\/(progress)?$/, "");
    this.ticket = status.searchParams.get("ticket") ?? "";
    this.#status = status;
    this.#getTicket = getTicket;
  }

  /**
   * @param {string} below  "" for the job itself, else "/progress", "/result", …
   * @param {Record<string, string>} [parameters]  empty ones are omitted
   */
  url(below, parameters = {}) {
    const url = new URL(this.#status);
    url.pathname += below;
    for (const [name, value] of Object.entries({ ticket: this.ticket, ...parameters })) {
      if (value) url.searchParams.set(name, value);
    }
    return url;
  }

  /** Gets the first ticket, if the URL has none. @throws {NoTicket} */
  async begin() {
    try {
      if (!this.ticket) await this.#renew();
    } catch (problem) {
      // Requests without a ticket fail with 401, and then get one.
      if (!(problem instanceof Unreachable)) throw problem;
    }
  }

  /**
   * `request` of stream.js. If it fails for lack of a valid ticket, it is repeated with a new one.
   *
   * @param {string} below
   * @param {RequestInit} init
   * @throws {Unreachable | NoTicket}
   */
  async request(below, init) {
    const { ticket } = this;
    const response = await request(this.url(below), init);
    if (response.status !== 401 || !this.#getTicket) return response;
    await response.text();
    if (this.ticket === ticket) await this.#renew();
    return request(this.url(below), init);
  }

  /** Concurrent requests that need a new ticket wait for the same one. */
  async #renew() {
    this.#renewing ??= this.#fetchTicket().finally(() => (this.#renewing = null));
    await this.#renewing;
  }

  async #fetchTicket() {
    try {
      if (this.#getTicket) this.ticket = await this.#getTicket();
    } catch (cause) {
      if (cause instanceof TypeError) throw new Unreachable(cause);
      throw new NoTicket("No ticket could be obtained.", { cause });
    }
  }
}
