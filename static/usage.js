// The line above the list that says how much of a quota is used. Without a quota there is none.

import { getUsage } from "./api.js";
import { byId, setAttribute, setTextOrHide } from "./dom.js";
import { bytes, count } from "./format.js";
import { pause } from "./headway.js";

/** @typedef {{ used: number, limit: number | null }} Measure */
/** @typedef {{ jobs: Measure, bytes: Measure, running: Measure }} Account */

/** At most one request in this time, however many jobs change. */
const EVERY_S = 1;
/** From this share on, the line stands out. */
const NEARLY_FULL = 0.9;

export class UsageLine {
  #limited = false;
  #asking = false;
  #outdated = false;
  #signal = AbortSignal.abort();

  /** @param {import("./store.js").JobStore} store */
  constructor(store) {
    this.place = byId("usage");
    store.subscribe((_id, job, before) => {
      if (this.#limited && job?.status !== before?.status) void this.#update();
    });
  }

  /** Shows the line until `signal` is aborted. @param {AbortSignal} signal */
  show(signal) {
    this.#signal = signal;
    void this.#update();
  }

  async #update() {
    this.#outdated = true;
    if (this.#asking) return;
    this.#asking = true;
    while (this.#outdated && !this.#signal.aborted) {
      this.#outdated = false;
      try {
        this.#draw(await getUsage(this.#signal));
      } catch {
        // The next change asks again; that the server is away is said elsewhere.
      }
      await pause(EVERY_S, this.#signal).catch(() => {});
    }
    this.#asking = false;
  }

  /** @param {{ owner: Account, key: Account | null }} usage */
  #draw({ owner, key }) {
    const jobs = tighter(owner.jobs, key?.jobs);
    const size = tighter(owner.bytes, key?.bytes);
    const running = tighter(owner.running, key?.running);
    this.#limited = [jobs, size, running].some(({ limit }) => limit !== null);
    const parts = [
      size.limit === null ? "" : `${bytes(size.used)} of ${bytes(size.limit)}`,
      jobs.limit === null ? "" : `${count(jobs.used)} of ${count(jobs.limit)} jobs`,
    ].filter(Boolean);
    const shown = parts.length === 0 ? [] : [`Using ${parts.join(" · ")}`];
    // To run as many as may run is what a limit is for: the line does not stand out.
    if (running.limit !== null) shown.push(`${count(running.used)} running of at most ${count(running.limit)} at once`);
    setTextOrHide(this.place, shown.join(" · "));
    setAttribute(this.place, "data-full", [jobs, size].some(isNearlyFull) ? "" : null);
  }
}

/** The one that has less left. @param {Measure} owner @param {Measure} [key] */
function tighter(owner, key) {
  if (!key || key.limit === null) return owner;
  return owner.limit === null || key.limit - key.used < owner.limit - owner.used ? key : owner;
}

/** @param {Measure} measure */
const isNearlyFull = ({ used, limit }) => limit !== null && used >= limit * NEARLY_FULL;
