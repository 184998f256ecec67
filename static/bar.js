// A job's progress bar: <headway-progress> without its text. Its value is always exactly one that the server sent.

import "./headway-progress.js";
import { h, setAttribute } from "./dom.js";

/** @typedef {import("./headway.js").JobState} Job */

/** Moves the fill in from the left. Unlike a width it costs no layout, and unlike scaling it keeps the end round.
 * @param {number} share 0 to 1 */
export const fillTransform = (share) => `translateX(${(share - 1) * 100}%)`;

export class ProgressBar {
  constructor() {
    // The page announces by itself what has changed: with thirty jobs, together.
    this.element = /** @type {import("./headway-progress.js").HeadwayProgress} */ (
      h(/** @type {any} */ ("headway-progress"), { quiet: true }));
  }

  /** @param {Job} job @param {string} name */
  update(job, name) {
    setAttribute(this.element, "label", `Progress of ${name}`);
    if (this.element.state !== job) this.element.state = job;
  }
}
