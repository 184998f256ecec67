// Tells a screen reader when jobs start and end, and when the connection is lost; never the ticks.

import { byId, setText } from "./dom.js";
import { isTerminal } from "./format.js";

/** @typedef {import("./watch-job.js").Job} Job */

/** News of this span are said together, so that thirty jobs do not talk over one another. */
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
   * @param {Job} before  what was known of it: news is only what changed while this page looked on
   * @param {string} name
   */
  job(job, before, name) {
    if (job.status === before.status) return;
    if (isTerminal(job)) this.say(`${name} ${job.status}`);
    else if (job.status === "running") this.say(`${name} started`);
  }

  /** @param {string} text */
  say(text) {
    this.#news.push(text);
    this.#timer ??= setTimeout(() => this.#speak(), GATHER_MS);
  }

  #speak() {
    this.#timer = undefined;
    const more = this.#news.length - MOST_AT_ONCE;
    const said = this.#news.slice(0, MOST_AT_ONCE);
    if (more > 0) said.push(`and ${more} more`);
    this.#news = [];
    setText(this.region, said.join(". "));
  }
}
