// The buttons of one job: cancel, run again, and delete with a confirmation. Used by the list and the detail view.

import { cancelJob, deleteJob, explain, retryJob } from "./api.js";
import { h, setAttribute, setHidden, setText, setTextOrHide } from "./dom.js";
import { isTerminal } from "./format.js";
import { Problem } from "./headway.js";
import { refetch } from "./live.js";
import { whyReadOnly } from "./session.js";

/** @typedef {import("./headway.js").JobState} Job */
/**
 * @typedef {object} ActionOptions
 * @property {import("./store.js").JobStore} store
 * @property {(job: Job) => void} onRetried      with the new job
 * @property {() => void} onFocusLost  the focused button is gone and the job has no other
 */

export class JobActions {
  /** @type {Job | null} */
  #job = null;
  #name = "";
  #asking = false;
  #busy = false;
  #cancelling = false;

  /** @param {ActionOptions} options */
  constructor(options) {
    this.options = options;
    const button = (/** @type {string} */ text, /** @type {() => void} */ act, kind = "") => {
      const element = h("button", { type: "button", class: `button small ${kind}`.trim() }, text);
      element.addEventListener("click", act);
      return element;
    };
    this.cancel = button("Cancel", () => void this.#cancel());
    this.retry = button("Run again", () => void this.#retry());
    this.remove = button("Delete…", () => this.#allowed() && this.#ask(true));
    // "Keep" takes the place of "Delete…", or the question does where lines wrap: a double click deletes nothing.
    this.confirm = button("Delete", () => void this.#delete(), "danger");
    this.keep = button("Keep", () => this.#ask(false));
    this.question = h("span", { class: "question" }, "Delete the job and its files?");
    this.notice = h("p", { class: "action-notice", role: "status", hidden: true });
    this.answers = h("span", { class: "answers" }, this.confirm, this.keep);
    this.element = h("div", { class: "actions" }, this.notice,
      h("div", { class: "buttons" }, this.cancel, this.retry, this.remove, this.question, this.answers));
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#asking) this.#ask(false);
    });
  }

  /** @param {Job} job @param {string} name  the job's name in the buttons' labels */
  update(job, name) {
    this.#job = job;
    this.#name = name;
    const ended = isTerminal(job);
    // Shown from the click on; the server confirms it with the next state.
    const stopping = (job.cancelRequested || this.#cancelling) && !ended;
    const focused = this.element.contains(document.activeElement) ? document.activeElement : null;
    setHidden(this.cancel, ended || this.#asking);
    setText(this.cancel, stopping ? "Stopping…" : "Cancel");
    setAttribute(this.cancel, "aria-disabled", (stopping || this.#busy) && "true");
    setHidden(this.retry, this.#asking || !(job.status === "failed" || job.status === "cancelled"));
    setHidden(this.remove, !ended || this.#asking);
    for (const element of [this.question, this.answers, this.confirm, this.keep]) setHidden(element, !this.#asking);
    for (const element of [this.cancel, this.retry, this.remove, this.confirm]) {
      setAttribute(element, "aria-label", `${(element.textContent ?? "").replace("…", "")} ${name}`);
    }
    if (focused instanceof HTMLElement && focused.hidden) this.#refocus();
    this.#markReadOnly();
  }

  /** Not `disabled`, so that the keyboard can still reach a button and the reason why it does nothing. */
  #markReadOnly() {
    const why = whyReadOnly();
    for (const button of [this.cancel, this.retry, this.remove]) {
      setAttribute(button, "title", why || null);
      setAttribute(button, "aria-describedby", why ? "read-only-why" : null);
      if (why) setAttribute(button, "aria-disabled", "true");
      else if (button !== this.cancel) setAttribute(button, "aria-disabled", null);
    }
  }

  /** Touch screens show no titles, so a tap shows the reason as a notice. */
  #allowed() {
    const why = whyReadOnly();
    if (why) setTextOrHide(this.notice, why);
    return !why;
  }

  #refocus() {
    const next = [this.keep, this.cancel, this.retry, this.remove].find((button) => !button.hidden);
    if (next) next.focus({ preventScroll: true });
    else this.options.onFocusLost();
  }

  /** @param {boolean} asking */
  #ask(asking) {
    this.#asking = asking;
    this.#redraw();
    (asking ? this.keep : this.remove).focus({ preventScroll: true });
  }

  async #cancel() {
    const job = this.#job;
    if (!job || job.cancelRequested || this.#busy || !this.#allowed()) return;
    this.#cancelling = true;
    await this.#act(async () => {
      this.#redraw();
      await cancelJob(job.jobId);
      await refetch(this.options.store, job.jobId);
    });
    this.#cancelling = false;
    this.#redraw();
  }

  async #retry() {
    const job = this.#job;
    if (job && this.#allowed()) await this.#act(async () => this.options.onRetried(await retryJob(job.jobId)));
  }

  async #delete() {
    const job = this.#job;
    if (!job) return;
    await this.#act(async () => {
      const { deleted } = await deleteJob(job.jobId);
      this.#asking = false;
      if (deleted) this.options.store.remove(job.jobId);
    });
  }

  /** Makes one call at a time and shows its failure beside the buttons. @param {() => Promise<void>} call */
  async #act(call) {
    if (this.#busy) return;
    this.#busy = true;
    setTextOrHide(this.notice, "");
    try {
      await call();
    } catch (problem) {
      await this.#showFailure(problem);
    } finally {
      this.#busy = false;
      this.#redraw();
    }
  }

  /** @param {unknown} problem */
  async #showFailure(problem) {
    const id = this.#job?.jobId;
    const status = problem instanceof Problem ? problem.status : 0;
    setTextOrHide(this.notice, status === 409 ? "Too late: the job has already ended." : explain(problem));
    // The shown state is out of date: the job has ended or is gone.
    if (id && [404, 409, 410].includes(status)) await refetch(this.options.store, id).catch(() => {});
  }

  #redraw() {
    if (this.#job) this.update(this.#job, this.#name);
  }
}
