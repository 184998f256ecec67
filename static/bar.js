// A job's progress bar. Its value is always one that the server sent, digit for digit.

import { h, setAttribute } from "./dom.js";
import { spokenProgress, statusOf } from "./format.js";

/** @typedef {import("./watch-job.js").Job} Job */

/** Moves the fill in from the left; moving costs no layout, and unlike scaling keeps its end round.
 * @param {number} share 0 to 1 */
export const fillTransform = (share) => `translateX(${(share - 1) * 100}%)`;

export class ProgressBar {
  constructor() {
    this.fill = h("div", { class: "bar-fill" });
    this.element = h("div", {
      class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100,
    }, this.fill);
  }

  /** @param {Job} job @param {string} name */
  update(job, name) {
    const known = job.progress !== null;
    setAttribute(this.element, "aria-label", `Progress of ${name}`);
    setAttribute(this.element, "aria-valuenow", job.progress);
    setAttribute(this.element, "aria-valuetext", spokenProgress(job));
    setAttribute(this.element, "data-status", statusOf(job).key);
    // Nothing moves before the job does: a queued or ended one without a figure is just empty.
    setAttribute(this.element, "data-indeterminate", !known && job.status === "running");
    const transform = fillTransform((job.progress ?? 0) / 100);
    if (this.fill.style.transform !== transform) this.fill.style.transform = transform;
  }
}
