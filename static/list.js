// The list of jobs: keyed rows that are updated at most ten times a second, and older ones page by page.

import { explain, listJobs, serverNow } from "./api.js";
import { byId, setAttribute, setHidden, setText, setTextOrHide, throttled } from "./dom.js";
import { count, isTerminal } from "./format.js";
import { JobRow } from "./row.js";
import { byNewest } from "./store.js";

/** @typedef {import("./headway.js").JobState} Job */

const PAGE = 30;
/** Rows created in one paint; two hundred at once would delay the frame. The rest follow in the next. */
const MOST_NEW_ROWS = 25;
/** The age of a recent job is updated every second, that of older ones rarely. */
const RECENT_MS = 120_000;
const SLOW_TICK = 20;

/** @type {Record<string, (job: Job) => boolean>} */
const FILTERS = { all: () => true, active: (job) => !isTerminal(job), ended: isTerminal };

export class JobList {
  /** @type {Map<string, JobRow>} */
  #rows = new Map();
  /** @type {Set<string>} */
  #dirty = new Set();
  #reorder = true;
  #filter = "all";
  /** @type {string | null} */
  #cursor = null;
  #loaded = false;
  #ticks = 0;

  /**
   * @param {import("./store.js").JobStore} store
   * @param {(type: string) => string} titleOf  a job type's title
   * @param {(job: Job) => void} onRetried
   */
  constructor(store, titleOf, onRetried) {
    this.store = store;
    this.titleOf = titleOf;
    this.onRetried = onRetried;
    this.list = byId("job-list");
    this.empty = byId("jobs-empty");
    this.older = byId("jobs-older");
    this.notice = byId("jobs-notice");
    this.requestPaint = throttled(() => this.#paint());
    this.filters = [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-filter]"))];
    for (const button of this.filters) {
      button.addEventListener("click", () => this.#show(button.dataset.filter ?? "all"));
    }
    this.older.addEventListener("click", () => void this.loadPage());
    store.subscribe((id, job, before) => {
      this.#dirty.add(id);
      this.#reorder ||= !job || !before || job.status !== before.status || job.queuePosition !== before.queuePosition;
      this.requestPaint();
    });
    setInterval(() => this.#tick(), 1000);
  }

  /** Fetches the newest page, unless it is loaded. */
  async loadNewest() {
    if (this.#loaded) setTextOrHide(this.notice, "");
    else await this.loadPage();
  }

  /** Fetches the newest page first, then an older one with each call. */
  async loadPage() {
    setAttribute(this.older, "aria-disabled", "true");
    try {
      const { jobs, nextCursor } = await listJobs({ limit: PAGE, cursor: this.#cursor });
      for (const job of jobs) this.store.accept(job);
      this.#cursor = nextCursor;
      this.#loaded = true;
      this.#reorder = true;
      setTextOrHide(this.notice, "");
    } catch (problem) {
      setTextOrHide(this.notice, `Jobs could not be listed. ${explain(problem)}`);
    }
    setAttribute(this.older, "aria-disabled", null);
    const focused = document.activeElement === this.older;
    setHidden(this.older, this.#loaded && this.#cursor === null);
    if (focused && this.older.hidden) byId("jobs-title").focus({ preventScroll: true });
    if (this.#loaded) setText(this.older, "Show older");
    this.requestPaint();
  }

  /** Focuses a job's row. @param {string} id @returns {boolean} whether it has one */
  focus(id) {
    this.#paint();
    const row = this.#rows.get(id);
    row?.link.focus();
    return row !== undefined;
  }

  /** Repaints all rows, because something they show beside their job has changed. */
  redraw() {
    for (const job of this.store.all()) this.#dirty.add(job.jobId);
    this.requestPaint();
  }

  /** Repaints what changes with time: waiting times every second, ages less often. */
  #tick() {
    this.store.removeExpired(serverNow());
    if (document.hidden) return;
    this.#ticks += 1;
    if (this.#ticks % SLOW_TICK === 0) return this.redraw();
    const recently = serverNow() - RECENT_MS;
    for (const job of this.store.all()) {
      if (!isTerminal(job) || Date.parse(job.createdAt) > recently) this.#dirty.add(job.jobId);
    }
    this.requestPaint();
  }

  /** @param {string} filter */
  #show(filter) {
    this.#filter = filter;
    for (const button of this.filters) setAttribute(button, "aria-pressed", String(button.dataset.filter === filter));
    this.#reorder = true;
    this.requestPaint();
  }

  #paint() {
    // A hidden view is not painted; it catches up when it is shown.
    if (this.list.closest("[hidden]")) return;
    if (this.#reorder) this.#order();
    const nowMs = serverNow();
    for (const id of this.#dirty) {
      const job = this.store.get(id);
      if (job) this.#rows.get(id)?.update(job, this.titleOf(job.type), nowMs);
    }
    this.#dirty.clear();
  }

  #order() {
    this.#reorder = false;
    const jobs = this.store.all();
    const shown = jobs.filter(FILTERS[this.#filter]).sort(this.#filter === "active" ? byTurn : byNewest);
    const focused = document.activeElement;
    this.#dropRows(new Set(shown.map((job) => job.jobId)));
    let place = this.list.firstElementChild;
    let created = 0;
    for (const job of shown) {
      if (!this.#rows.has(job.jobId) && (created += 1) > MOST_NEW_ROWS) continue;
      const element = this.#rowFor(job.jobId).element;
      if (element === place) place = place.nextElementSibling;
      else this.list.insertBefore(element, place);
    }
    // Moving an element removes its focus.
    if (focused instanceof HTMLElement && focused !== document.activeElement && focused.isConnected) {
      focused.focus({ preventScroll: true });
    }
    this.#count(jobs, shown.length);
    if (created > MOST_NEW_ROWS) {
      this.#reorder = true;
      this.requestPaint();
    }
  }

  /** @param {string} id */
  #rowFor(id) {
    let row = this.#rows.get(id);
    if (!row) {
      row = new JobRow(id, { store: this.store, onRetried: this.onRetried, onFocusLost: () => {} });
      this.#rows.set(id, row);
      this.#dirty.add(id);
    }
    return row;
  }

  /** @param {Set<string>} wanted */
  #dropRows(wanted) {
    for (const [id, row] of this.#rows) {
      if (wanted.has(id)) continue;
      this.#rows.delete(id);
      const held = row.element.contains(document.activeElement);
      const next = row.element.nextElementSibling ?? row.element.previousElementSibling;
      row.element.remove();
      // The focus stays near its place in the list instead of moving to the top of the page.
      if (held) (next?.querySelector("a") ?? byId("jobs-title")).focus({ preventScroll: true });
    }
  }

  /** @param {Job[]} jobs @param {number} shown */
  #count(jobs, shown) {
    const active = jobs.filter(FILTERS.active).length;
    setText(byId("active-count"), active ? count(active) : "");
    setHidden(byId("active-count"), active === 0);
    setHidden(this.empty, shown > 0 || !this.#loaded);
    setHidden(byId("empty-first"), jobs.length > 0);
    setHidden(byId("empty-filter"), jobs.length === 0);
  }
}

/** Running jobs first, then the queue in its order. @param {Job} a @param {Job} b */
function byTurn(a, b) {
  if (a.status !== b.status) return a.status === "running" ? -1 : 1;
  const last = Number.MAX_SAFE_INTEGER;
  return (a.queuePosition ?? last) - (b.queuePosition ?? last) || -byNewest(a, b);
}
