// Keeps the store up to date: one stream for all jobs, polling in its place, and catching up between.

import { at, getJob, listJobs, Problem } from "./api.js";
import { keepStream } from "./stream.js";

/** Jobs fetched one by one at the same time when catching up. */
const PARALLEL_FETCHES = 4;
/** A poll replaces a stream of hundreds of jobs; it need not fetch every straggler each time. */
const MOST_FETCHES_PER_POLL = 20;
const POLL_PAGE = 100;
const QUEUE_REFRESH_MS = 5000;

/**
 * Feeds the store until the signal fires.
 *
 * @param {import("./store.js").JobStore} store
 * @param {(state: import("./stream.js").Connection, everyS?: number) => void} onConnection
 * @param {AbortSignal} signal
 * @param {boolean} connectedBefore  the store has been fed before, and missed what was meanwhile
 */
export function keepLive(store, onConnection, signal, connectedBefore) {
  /** What was sent since the connection was made. @type {Set<string>} */
  let sent = new Set();
  let live = false;

  keepStream({
    url: () => at("jobs/progress"),
    events: ["ready", "gone"],
    onOpen: () => (sent = new Set()),
    onEvent(name, event) {
      const data = JSON.parse(event.data);
      if (name === "ready") {
        void recover(store, sent, connectedBefore, signal).catch(console.warn);
        connectedBefore = true;
        return;
      }
      if (name === "gone") return store.remove(data.jobId);
      sent.add(data.jobId);
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
 * After a connection was made: what the stream will not tell of. Jobs that came and went while it was
 * away are in the newest page of the list, at the first connection the list fetches that itself.
 *
 * @param {import("./store.js").JobStore} store
 * @param {Set<string>} sent
 * @param {boolean} again
 * @param {AbortSignal} signal
 */
async function recover(store, sent, again, signal) {
  if (again) {
    const { jobs } = await listJobs({ limit: POLL_PAGE }, signal);
    for (const job of jobs) {
      sent.add(job.jobId);
      store.accept(job);
    }
  }
  await catchUp(store, sent, Infinity, signal);
}

/**
 * The stream has no memory: a reconnect is a fresh start. A job that is held as active and was not
 * sent has ended, was deleted, or stands beyond the stream's first 200; each is asked for.
 *
 * @param {import("./store.js").JobStore} store
 * @param {Set<string>} sent
 * @param {number} most
 * @param {AbortSignal} signal
 */
async function catchUp(store, sent, most, signal) {
  const missing = store.active().map((job) => job.jobId).filter((id) => !sent.has(id)).slice(0, most);
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
    // A refusal is an answer: the server is there and says when to come back.
    if (problem instanceof Problem) return problem.retryAfter ?? 5;
    throw problem;
  }
}

/** Places in the queue change without moving a job's version, so no stream tells of them.
 * @param {import("./store.js").JobStore} store @param {AbortSignal} signal */
async function refreshQueue(store, signal) {
  if (!store.active().some((job) => job.status === "queued")) return;
  const { jobs } = await listJobs({ status: "queued", limit: 200 }, signal);
  for (const job of jobs) store.accept(job);
}
