// Announces to screen readers when jobs start and end and when the connection is lost, but not each tick.

import { byId, setText } from "./dom.js";
import { isTerminal } from "./format.js";

/** @typedef {import("./headway.js").JobState} Job */

/** News of this interval are announced together, so that thirty jobs do not interrupt one another. */
const GATHER_MS = 1000;
const MOST_AT_ONCE = 3;

export class Announcer {
  /** @type {string[]} */
  #news = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  constructor() {
    this.region = byId("announcer");
  }

  /**
   * @param {Job} job
   * @param {Job} before  its previous state: only changes are news
   * @param {string} name
   */
  job(job, before, name) {
    if (job.status === before.status) return;
    if (isTerminal(job)) this.announce(`${name} ${job.status}`);
    else if (job.status === "running") this.announce(`${name} started`);
  }

  /** @param {string} text */
  announce(text) {
    this.#news.push(text);
    this.#timer ??= setTimeout(() => this.#speak(), GATHER_MS);
  }

  #speak() {
    this.#timer = undefined;
    const more = this.#news.length - MOST_AT_ONCE;
    const spoken = this.#news.slice(0, MOST_AT_ONCE);
    if (more > 0) spoken.push(`and ${more} more`);
    this.#news = [];
    setText(this.region, spoken.join(". "));
  }
}
