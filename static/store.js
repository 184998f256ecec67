// The jobs that the page holds, with the newest state of each. States from all sources arrive here.

import { isTerminal } from "./format.js";

/** @typedef {import("./headway.js").JobState} Job */
/** @typedef {(id: string, job: Job | null, before: Job | null) => void} Listener  null job: it was removed */

/** Ended jobs beyond this many are evicted, oldest first: a page may stay open for weeks. */
const MOST_JOBS = 1000;

export class JobStore {
  /** @type {Map<string, Job>} */
  #jobs = new Map();
  /** @type {Set<Listener>} */
  #listeners = new Set();
  /** Ids of deleted jobs: a response in flight must not bring them back. */
  #gone = new Set();

  /** @param {Listener} listener @returns {() => void} stops listening */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param {string} id */
  get(id) {
    return this.#jobs.get(id) ?? null;
  }

  /** @returns {Job[]} in no particular order */
  all() {
    return [...this.#jobs.values()];
  }

  /** @returns {Job[]} */
  active() {
    return this.all().filter((job) => !isTerminal(job));
  }

  /**
   * Accepts a state if it is newer than the one held.
   *
   * @param {Job} job
   * @returns {boolean} whether anything changed
   */
  accept(job) {
    if (this.#gone.has(job.jobId)) return false;
    const held = this.get(job.jobId);
    if (held && job.version <= held.version) return this.#acceptQueuePosition(held, job);
    const next = held ? withoutStepBack(held, job) : job;
    this.#jobs.set(job.jobId, next);
    if (!held) this.#evictOldest();
    this.#notify(job.jobId, next, held);
    return true;
  }

  /** @param {string} id */
  remove(id) {
    this.#gone.add(id);
    const held = this.get(id);
    if (!held) return;
    this.#jobs.delete(id);
    this.#notify(id, null, held);
  }

  /** Removes jobs whose retention has ended, which the server has deleted too. @param {number} nowMs */
  removeExpired(nowMs) {
    for (const job of this.all()) {
      if (job.expiresAt && isTerminal(job) && Date.parse(job.expiresAt) < nowMs) this.remove(job.jobId);
    }
  }

  /** The queue position changes without a new version of the job (see the API's representation of a job).
   * @param {Job} held @param {Job} job */
  #acceptQueuePosition(held, job) {
    if (job.version !== held.version || job.queuePosition === held.queuePosition) return false;
    const next = { ...held, queuePosition: job.queuePosition };
    this.#jobs.set(held.jobId, next);
    this.#notify(held.jobId, next, held);
    return true;
  }

  #evictOldest() {
    if (this.#jobs.size <= MOST_JOBS) return;
    const ended = this.all().filter(isTerminal).sort(byNewest);
    const oldest = ended.at(-1);
    if (!oldest) return;
    this.#jobs.delete(oldest.jobId);
    this.#notify(oldest.jobId, null, oldest);
  }

  /** @param {string} id @param {Job | null} job @param {Job | null} before */
  #notify(id, job, before) {
    for (const listener of this.#listeners) listener(id, job, before);
  }
}

/**
 * Keeps a bar from going backwards within one attempt. Versions alone do not ensure that: after a crash the server
 * resumes from what it had written to disk, which may be slightly behind what it had already sent.
 *
 * @param {Job} held @param {Job} job
 * @returns {Job}
 */
function withoutStepBack(held, job) {
  if (job.attempt !== held.attempt || held.progress === null) return job;
  if (job.progress !== null && job.progress >= held.progress) return job;
  return { ...job, progress: held.progress };
}

/** @param {Job} a @param {Job} b ids are time-ordered, so they break ties */
export function byNewest(a, b) {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? 1 : -1;
  return a.jobId < b.jobId ? 1 : -1;
}
