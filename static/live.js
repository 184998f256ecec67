// Keeps the store up to date: one stream for all jobs, polling while it is unavailable, and catching up in between.

import { client, getJob, listJobs, noteStatus } from "./api.js";
import { pause, Problem } from "./headway.js";

/** Concurrent requests for single jobs when catching up. */
const PARALLEL_FETCHES = 4;
/** Polling replaces a stream of hundreds of jobs, so each poll fetches only some of the jobs not in the list. */
const MOST_FETCHES_PER_POLL = 20;
const POLL_PAGE = 100;
const QUEUE_REFRESH_MS = 5000;

/** After an error that is none of the stream's, such as a 404 from a proxy while the server is replaced. */
const AGAIN_AFTER_S = 10;

/**
 * Updates the store until the signal is aborted.
 *
 * @param {import("./store.js").JobStore} store
 * @param {(state: import("./headway.js").Connection, everyS?: number) => void} onConnection
 * @param {AbortSignal} signal
 * @param {boolean} connectedBefore  the store was updated before and has missed changes since
 */
export async function keepLive(store, onConnection, signal, connectedBefore) {
  const live = new LiveStore(store, signal, connectedBefore);
  const following = {
    query: () => live.begin(),
    poll: () => live.poll(),
    signal,
    onConnection(/** @type {import("./headway.js").Connection} */ state, /** @type {number} */ everyS) {
      live.connected = state === "live";
      onConnection(state, everyS);
    },
  };
  const timer = setInterval(() => live.refreshQueue(), QUEUE_REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  while (!signal.aborted) {
    try {
      for await (const event of client.follow("jobs/progress", following)) live.receive(event);
    } catch (problem) {
      if (signal.aborted) return;
      if (problem instanceof Problem) noteStatus(problem.status);
      else console.warn("The stream of jobs failed:", problem);
      onConnection("offline");
    }
    await pause(AGAIN_AFTER_S, signal).catch(() => {});
  }
}

class LiveStore {
  /** The jobs received since the connection was made. @type {Set<string>} */
  #received = new Set();
  connected = false;

  /** @param {import("./store.js").JobStore} store @param {AbortSignal} signal @param {boolean} connectedBefore */
  constructor(store, signal, connectedBefore) {
    this.store = store;
    this.signal = signal;
    this.connectedBefore = connectedBefore;
  }

  begin() {
    this.#received = new Set();
    return {};
  }

  /** @param {import("./headway.js").StreamEvent} event */
  receive({ name, data }) {
    if (name === "ready") {
      void recover(this.store, this.#received, this.connectedBefore, this.signal).catch(console.warn);
      this.connectedBefore = true;
    } else if (name === "gone") this.store.remove(data.jobId);
    else {
      this.#received.add(data.jobId);
      this.store.accept(data);
    }
  }

  /** The states go to the store; nothing is left to yield. @returns {AsyncGenerator<never, number, void>} */
  async *poll() {
    const { jobs, retryAfter } = await listJobs({ limit: POLL_PAGE }, this.signal);
    for (const job of jobs) this.store.accept(job);
    await catchUp(this.store, new Set(jobs.map((job) => job.jobId)), MOST_FETCHES_PER_POLL, this.signal);
    return retryAfter;
  }

  /** Queue positions change without a new version of the job, so no stream sends them. */
  async refreshQueue() {
    if (!this.connected || document.hidden || !this.store.active().some((job) => job.status === "queued")) return;
    try {
      const { jobs } = await listJobs({ status: "queued", limit: 200 }, this.signal);
      for (const job of jobs) this.store.accept(job);
    } catch {
      // The next one may succeed; that the server is away is said elsewhere.
    }
  }
}

/**
 * Fetches what a new stream does not send. Jobs that came and went while it was disconnected are on the newest page of
 * the list. At the first connection, the list fetches that page itself.
 *
 * @param {import("./store.js").JobStore} store
 * @param {Set<string>} received
 * @param {boolean} again
 * @param {AbortSignal} signal
 */
async function recover(store, received, again, signal) {
  if (again) {
    const { jobs } = await listJobs({ limit: POLL_PAGE }, signal);
    for (const job of jobs) {
      received.add(job.jobId);
      store.accept(job);
    }
  }
  await catchUp(store, received, Infinity, signal);
}

/**
 * Fetches active jobs that the stream did not send. The stream has no memory, so every connection starts afresh:
 * such a job has ended, was deleted, or is beyond the first 200 that the stream sends.
 *
 * @param {import("./store.js").JobStore} store
 * @param {Set<string>} received
 * @param {number} most
 * @param {AbortSignal} signal
 */
async function catchUp(store, received, most, signal) {
  const missing = store.active().map((job) => job.jobId).filter((id) => !received.has(id)).slice(0, most);
  const next = async () => {
    for (let id = missing.pop(); id !== undefined; id = missing.pop()) await refetch(store, id, signal);
  };
  await Promise.all(Array.from({ length: PARALLEL_FETCHES }, next));
}

/**
 * @param {import("./store.js").JobStore} store
 * @param {string} id
 * @param {AbortSignal} [signal]
 */
export async function refetch(store, id, signal) {
  try {
    store.accept(await getJob(id, signal));
  } catch (problem) {
    if (problem instanceof Problem && (problem.status === 404 || problem.status === 410)) return store.remove(id);
    throw problem;
  }
}
