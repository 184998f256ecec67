// The way to one job: its addresses, and the ticket that opens them to a page that has no session.

import { request, Unreachable } from "./stream.js";

/**
 * Gets a ticket from whoever may make one: the page's own backend. A TypeError, which is what `fetch` throws
 * where there is no connection, makes it be asked again later; anything else that it throws is final.
 *
 * @typedef {() => string | Promise<string>} GetTicket
 */

/** There is no ticket to be had; `cause` is what was thrown. */
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
   * @param {Record<string, string>} [parameters]  empty ones are left out
   */
  url(below, parameters = {}) {
    const url = new URL(this.#status);
    url.pathname += below;
    for (const [name, value] of Object.entries({ ticket: this.ticket, ...parameters })) {
      if (value) url.searchParams.set(name, value);
    }
    return url;
  }

  /** The first ticket, if the URL has none. @throws {NoTicket} */
  async begin() {
    try {
      if (!this.ticket) await this.#renew();
    } catch (problem) {
      // Whoever tries without one is refused, and asks again.
      if (!(problem instanceof Unreachable)) throw problem;
    }
  }

  /**
   * `request` of stream.js; what is refused for want of a ticket is asked for again with a fresh one.
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

  /** All who need a fresh ticket at the same time wait for the same one. */
  async #renew() {
    this.#renewing ??= this.#fetchTicket().finally(() => (this.#renewing = null));
    await this.#renewing;
  }

  async #fetchTicket() {
    try {
      if (this.#getTicket) this.ticket = await this.#getTicket();
    } catch (cause) {
      if (cause instanceof TypeError) throw new Unreachable(cause);
      throw new NoTicket("There is no ticket to be had.", { cause });
    }
  }
}
