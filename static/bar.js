// A job's progress bar. Its value is always exactly one that the server sent.

import { h, setAttribute } from "./dom.js";
import { spokenProgress, statusOf } from "./format.js";

/** @typedef {import("./watch-job.js").Job} Job */

/** Moves the fill in from the left. Unlike a width it costs no layout, and unlike scaling it keeps the end round.
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
    // Only a running job is animated: without a figure, the bar of a queued or ended job is empty.
    setAttribute(this.element, "data-indeterminate", !known && job.status === "running");
    const transform = fillTransform((job.progress ?? 0) / 100);
    if (this.fill.style.transform !== transform) this.fill.style.transform = transform;
  }
}
