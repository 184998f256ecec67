// One job in the list: a row that is created once and then only updated.

import { JobActions } from "./actions.js";
import { fileUrl, resourceUrl } from "./api.js";
import { ProgressBar } from "./bar.js";
import { h, setAttribute, setHidden, setText, setTextOrHide } from "./dom.js";
import { activityLine, ago, bytes, count, jobName, percent, progressLine, silenceLine, statusOf } from "./format.js";

/** @typedef {import("./headway.js").JobState} Job */

/** Output files linked in a row; the detail view has them all. */
const MOST_FILES = 3;

export class JobRow {
  #fileKey = "";

  /**
   * @param {string} id
   * @param {import("./actions.js").ActionOptions} options
   */
  constructor(id, options) {
    this.link = h("a", { class: "job-name", href: `#/jobs/${id}` });
    this.about = h("span", { class: "job-about" });
    this.badge = statusBadge();
    this.bar = new ProgressBar();
    this.percent = h("span", { class: "job-percent" });
    this.line = h("span", { class: "job-line" });
    this.silence = h("span", { class: "job-silence" });
    this.activity = h("p", { class: "job-activity" });
    this.files = h("ul", { class: "job-files", hidden: true });
    this.actions = new JobActions({ ...options, onFocusLost: () => this.link.focus({ preventScroll: true }) });
    this.element = h("li", { class: "job", "data-job": id },
      h("div", { class: "job-head" }, h("div", { class: "job-title" }, this.link, this.about), this.badge.element),
      this.bar.element,
      h("div", { class: "job-foot" },
        h("div", { class: "job-text" },
          h("div", { class: "job-figures" }, this.percent, this.line, " ", this.silence), this.activity, this.files),
        this.actions.element));
  }

  /**
   * @param {Job} job
   * @param {string} typeTitle
   * @param {number} nowMs
   */
  update(job, typeTitle, nowMs) {
    const name = jobName(job, typeTitle);
    setText(this.link, name);
    setText(this.about, [name === typeTitle ? "" : typeTitle, ago(job.createdAt, nowMs)].filter(Boolean).join(" · "));
    this.badge.update(job);
    this.bar.update(job, name);
    setText(this.percent, percent(job));
    setHidden(this.percent, job.progress === null);
    setText(this.line, progressLine(job, nowMs));
    setTextOrHide(this.silence, silenceLine(job, nowMs));
    setTextOrHide(this.activity, activityLine(job));
    setAttribute(this.element, "data-attempt", job.attempt);
    setAttribute(this.element, "data-status", statusOf(job).key);
    this.#updateFiles(job);
    this.actions.update(job, name);
  }

  /** @param {Job} job */
  #updateFiles(job) {
    const files = job.files ?? [];
    const resource = resourceUrl(job);
    const key = [resource?.href ?? "", job.filesTotal, ...files.map(({ name, sizeBytes }) => `${name}/${sizeBytes}`)].join("\n");
    if (key === this.#fileKey) return;
    this.#fileKey = key;
    const links = files.slice(0, MOST_FILES).map(({ name, sizeBytes }) =>
      h("li", {}, h("a", { href: fileUrl(job.jobId, name).href, download: name }, name), ` ${bytes(sizeBytes)}`));
    if (job.filesTotal > MOST_FILES) links.push(h("li", {}, `and ${count(job.filesTotal - MOST_FILES)} more`));
    const attributes = { href: resource?.href, target: "_blank", rel: "noopener" };
    if (resource) links.unshift(h("li", {}, h("a", attributes, "Open the result")));
    this.files.replaceChildren(...links);
    setHidden(this.files, links.length === 0);
  }
}

/** The state as a glyph and a word, because not everybody can distinguish it by colour. */
export function statusBadge() {
  const glyph = h("span", { class: "glyph", "aria-hidden": "true" });
  const word = h("span", {});
  const element = h("span", { class: "badge" }, glyph, word);
  return {
    element,
    /** @param {Job} job */
    update(job) {
      const status = statusOf(job);
      setText(glyph, status.glyph);
      setText(word, status.word);
      setAttribute(element, "data-status", status.key);
    },
  };
}
