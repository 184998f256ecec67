// Keeps the store up to date: one stream for all jobs, polling while it is unavailable, and catching up in between.

import { at, getJob, listJobs, Problem } from "./api.js";
import { keepStream } from "./stream.js";

/** Concurrent requests for single jobs when catching up. */
const PARALLEL_FETCHES = 4;
/** Polling replaces a stream of hundreds of jobs, so each poll fetches only some of the jobs not in the list. */
const MOST_FETCHES_PER_POLL = 20;
const POLL_PAGE = 100;
const QUEUE_REFRESH_MS = 5000;

/**
 * Updates the store until the signal is aborted.
 *
 * @param {import("./store.js").JobStore} store
 * @param {(state: import("./stream.js").Connection, everyS?: number) => void} onConnection
 * @param {AbortSignal} signal
 * @param {boolean} connectedBefore  the store was updated before and has missed changes since
 */
export function keepLive(store, onConnection, signal, connectedBefore) {
  /** The jobs received since the connection was made. @type {Set<string>} */
  let received = new Set();
  let live = false;

  keepStream({
    url: () => at("jobs/progress"),
    events: ["ready", "gone"],
    onOpen: () => (received = new Set()),
    onEvent(name, event) {
      const data = JSON.parse(event.data);
      if (name === "ready") {
        void recover(store, received, connectedBefore, signal).catch(console.warn);
        connectedBefore = true;
        return;
      }
      if (name === "gone") return store.remove(data.jobId);
      received.add(data.jobId);
      store.accept(data);
    },
    poll: (pollSignal) => poll(store, pollSignal),
    onConnection(state, everyS) {
      live = state === "live";
      onConnection(state, everyS);
    },
  }, signal);

  const timer = setInterval(() => {
    if (live && !document.hidden) void refreshQueue(store, signal).catch(() => {});
  }, QUEUE_REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
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

/**
 * @param {import("./store.js").JobStore} store
 * @param {AbortSignal} signal
 * @returns {Promise<number>} seconds until the next one
 */
async function poll(store, signal) {
  try {
    const { jobs, retryAfter } = await listJobs({ limit: POLL_PAGE }, signal);
    for (const job of jobs) store.accept(job);
    await catchUp(store, new Set(jobs.map((job) => job.jobId)), MOST_FETCHES_PER_POLL, signal);
    return retryAfter;
  } catch (problem) {
    // An error response means that the server is up; it may say when to try again.
    if (problem instanceof Problem) return problem.retryAfter ?? 5;
    throw problem;
  }
}

/** Queue positions change without a new version of the job, so no stream sends them.
 * @param {import("./store.js").JobStore} store @param {AbortSignal} signal */
async function refreshQueue(store, signal) {
  if (!store.active().some((job) => job.status === "queued")) return;
  const { jobs } = await listJobs({ status: "queued", limit: 200 }, signal);
  for (const job of jobs) store.accept(job);
}
