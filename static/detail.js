// All about one job, from its own stream: state, times, log, input, result, files.

import { JobActions } from "./actions.js";
import { at, client, getJob, noteStatus, resourceUrl, serverNow } from "./api.js";
import { ProgressBar } from "./bar.js";
import { DeliveriesView } from "./deliveries.js";
import { byId, h, setAttribute, setHidden, setText, setTextOrHide, throttled } from "./dom.js";
import {
  activityLine, dateAndTime, duration, isTerminal, jobName, percent, progressLine, silenceLine, visibleJson,
} from "./format.js";
import { FilesView } from "./files.js";
import { Problem } from "./headway.js";
import { LogView } from "./log.js";
import { statusBadge } from "./row.js";

/** @typedef {import("./headway.js").JobState} Job */

export class DetailView {
  /** @type {AbortController | null} */
  #stop = null;
  #id = "";
  /**
   * The parts that only the job's status resource contains.
   *
   * @type {{input?: unknown, result?: unknown, ended: boolean} | null}
   */
  #full = null;
  #drawn = { full: /** @type {object | null} */ (null) };

  /**
   * @param {import("./store.js").JobStore} store
   * @param {(type: string) => string} titleOf
   * @param {(job: Job) => void} onRetried
   * @param {(news: string) => void} announce
   */
  constructor(store, titleOf, onRetried, announce) {
    this.store = store;
    this.titleOf = titleOf;
    this.heading = byId("detail-title");
    this.body = byId("detail-body");
    this.missing = byId("detail-missing");
    this.badge = statusBadge();
    this.bar = new ProgressBar();
    this.log = new LogView();
    this.files = new FilesView();
    this.deliveries = new DeliveriesView(announce);
    this.actions = new JobActions({ store, onRetried, onFocusLost: () => this.heading.focus() });
    byId("detail-badge").append(this.badge.element);
    byId("detail-bar").append(this.bar.element);
    byId("detail-actions").append(this.actions.element);
    this.requestPaint = throttled(() => this.#paint());
    store.subscribe((id, job, before) => {
      if (id !== this.#id) return;
      if (before && job?.status !== before.status) this.deliveries.refresh();
      if (job) this.requestPaint();
      else this.#showMissing("This job was deleted.", "Its record, log, result and files are gone.");
    });
    setInterval(() => this.#id && !document.hidden && this.requestPaint(), 1000);
  }

  /** @param {string} id */
  open(id) {
    this.close();
    this.#id = id;
    this.#stop = new AbortController();
    this.#full = null;
    this.#drawn = { full: null };
    setText(this.heading, "Job");
    this.#showBody(this.store.get(id) !== null);
    setHidden(this.missing, true);
    for (const part of ["input", "result"]) setHidden(byId(`detail-${part}-part`), true);
    this.log.open(id);
    this.files.open(id);
    this.deliveries.open(id);
    void this.#fetchFull();
    void this.#follow(this.#stop.signal);
    this.#paint();
  }

  close() {
    this.#stop?.abort();
    this.#stop = null;
    this.#id = "";
    this.files.close();
    this.deliveries.close();
  }

  /** @param {AbortSignal} signal */
  async #follow(signal) {
    const onConnection = (/** @type {string} */ state) => this.#showConnection(state);
    try {
      for await (const event of client.job(this.#id).events({ signal, onConnection })) {
        if (event.type === "state") this.store.accept(event.state);
        else if (event.type === "log") this.log.add(event.line);
        else this.log.clear();
      }
      if (signal.aborted) return;
      this.#showConnection("");
      this.log.end();
      await this.#fetchFull();
    } catch (problem) {
      if (signal.aborted) return;
      if (!(problem instanceof Problem)) throw problem;
      this.#gone(problem.status);
    }
  }

  /** Fetches input and result, which only the status resource contains: once at the start and once at the end. */
  async #fetchFull() {
    const signal = this.#stop?.signal;
    if (!signal || this.#full?.ended) return;
    try {
      const job = await getJob(this.#id, signal);
      if (signal.aborted) return;
      this.#full = { input: job.input, result: job.result, ended: isTerminal(job) };
      this.store.accept(job);
      this.requestPaint();
    } catch (problem) {
      if (signal.aborted) return;
      if (problem instanceof Problem) this.#gone(problem.status);
      // Unreachable: the stream reconnects or polls, and this is called again when the job has ended.
    }
  }

  /** @param {number} status */
  #gone(status) {
    // The session has ended; signing in opens this view again.
    if (status === 401) return noteStatus(status);
    const held = this.store.get(this.#id);
    if (status === 404 && !held) {
      const why = "It may have expired or been deleted, or the URL is wrong.";
      return this.#showMissing("Job not found", why);
    }
    if (status === 404 || status === 410) return this.store.remove(this.#id);
    if (!held) this.#showMissing("This job cannot be shown.", `The server answered ${status}.`);
  }

  /** @param {string} title @param {string} text */
  #showMissing(title, text) {
    const focused = this.body.contains(document.activeElement);
    this.close();
    setText(this.heading, title);
    setText(this.missing, text);
    this.#showBody(false);
    if (focused) this.heading.focus();
  }

  /** @param {boolean} shown */
  #showBody(shown) {
    setHidden(this.body, !shown);
    setHidden(this.badge.element, !shown);
    setHidden(this.missing, shown);
  }

  #paint() {
    const job = this.store.get(this.#id);
    if (!job) return;
    const nowMs = serverNow();
    const name = jobName(job, this.titleOf(job.type));
    this.#showBody(true);
    setText(this.heading, name);
    this.badge.update(job);
    this.bar.update(job, name);
    this.actions.update(job, name);
    setAttribute(this.body, "data-status", job.status);
    setText(byId("detail-percent"), percent(job));
    setHidden(byId("detail-percent"), job.progress === null);
    setText(byId("detail-line"), progressLine(job, nowMs));
    setTextOrHide(byId("detail-silence"), silenceLine(job, nowMs));
    setTextOrHide(byId("detail-activity"), job.status === "failed" ? "" : activityLine(job));
    this.#paintError(job);
    this.#paintFacts(job, nowMs);
    this.files.update(job);
    this.#paintFull(job);
  }

  /** @param {Job} job */
  #paintError(job) {
    setHidden(byId("detail-error"), job.error === null);
    setText(byId("detail-error-title"), job.error?.title ?? "");
    setTextOrHide(byId("detail-error-text"), job.error?.detail ?? "");
  }

  /** @param {Job} job @param {number} nowMs */
  #paintFacts(job, nowMs) {
    const ends = job.completedAt ? Date.parse(job.completedAt) : nowMs;
    const when = (/** @type {string | null} */ instant) => (instant ? dateAndTime(instant) : "");
    const facts = {
      type: this.titleOf(job.type),
      created: when(job.createdAt),
      starts: job.status === "queued" && job.runAt && Date.parse(job.runAt) > nowMs ? when(job.runAt) : "",
      started: when(job.startedAt),
      ended: when(job.completedAt),
      took: job.startedAt ? duration(Math.max(0, (ends - Date.parse(job.startedAt)) / 1000)) : "",
      attempt: job.attempt > 0 ? `${job.attempt} of ${job.maxAttempts}` : "",
      expires: when(job.expiresAt),
    };
    for (const [name, text] of Object.entries(facts)) this.#paintFact(name, text);
    this.#paintFact("id", job.jobId);
    setHidden(byId("fact-retry-of"), job.retryOf === null);
    if (job.retryOf) setAttribute(byId("fact-retry-of-link"), "href", `#/jobs/${job.retryOf}`);
    setText(byId("fact-took-name"), isTerminal(job) ? "Took" : "Running for");
  }

  /** @param {string} name @param {string} text */
  #paintFact(name, text) {
    setText(byId(`fact-${name}-value`), text);
    setHidden(byId(`fact-${name}`), text === "");
  }

  /** @param {Job} job */
  #paintFull(job) {
    const full = this.#full;
    if (!full || full === this.#drawn.full) return;
    this.#drawn.full = full;
    setText(byId("detail-input"), visibleJson(full.input));
    setHidden(byId("detail-input-part"), full.input === undefined || full.input === null);
    const held = full.result !== undefined && full.result !== null;
    setTextOrHide(byId("detail-result"), held ? visibleJson(full.result) : "");
    setHidden(byId("detail-result-part"), !job.resultUrl);
    const resource = resourceUrl(job);
    setHidden(byId("detail-resource"), resource === null);
    if (resource) setAttribute(byId("detail-resource-link"), "href", resource.href);
    setText(byId("detail-resource-link"), resource ? (job.resultUrl ?? "") : "");
    setHidden(byId("detail-result-big"), held || resource !== null);
    setAttribute(byId("detail-result-link"), "href", at(`jobs/${encodeURIComponent(job.jobId)}/result`).href);
  }

  /** @param {string} state "" when the job is no longer followed */
  #showConnection(state) {
    /** @type {Record<string, string>} */
    const words = { live: "live", reconnecting: "reconnecting…", polling: "polling", offline: "offline" };
    setTextOrHide(byId("log-connection"), words[state] ?? "");
    setAttribute(byId("log-connection"), "data-state", state);
  }
}
