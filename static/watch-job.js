// Follows one job to its end, for this page or any other: by its stream, or by polling if that is unavailable.

import { JobAccess, NoTicket } from "./job-access.js";
import { keepStream, pause, retryAfterS, Unreachable } from "./stream.js";

/** @typedef {{name: string, sizeBytes: number, contentType: string, url: string}} OutputFile */
/** @typedef {{type: string, title: string, detail: string | null, status: number | null}} JobError */
/** @typedef {{seq: number, at: string, level: string, message: string}} LogLine */
/**
 * A job as the API represents it. Only `statusUrl` returns `input` and `result`.
 *
 * @typedef {object} Job
 * @property {string} jobId
 * @property {string} type
 * @property {string | null} label
 * @property {"queued" | "running" | "completed" | "failed" | "cancelled"} status
 * @property {number | null} progress  percent; null while unknown
 * @property {number | null} done
 * @property {number | null} total
 * @property {string | null} unit
 * @property {string | null} message
 * @property {string | null} step
 * @property {number | null} ratePerSecond
 * @property {number | null} etaSeconds
 * @property {number | null} queuePosition
 * @property {number} attempt
 * @property {number} maxAttempts
 * @property {boolean} cancelRequested
 * @property {string} createdAt
 * @property {string | null} runAt
 * @property {string | null} startedAt
 * @property {string | null} updatedAt
 * @property {string | null} completedAt
 * @property {string | null} expiresAt
 * @property {string} statusUrl
 * @property {string} progressUrl
 * @property {string | null} resultUrl
 * @property {unknown} [input]
 * @property {unknown} [result]
 * @property {OutputFile[] | null} files  the first 100 of them
 * @property {number} filesTotal
 * @property {Record<string, string>} metadata
 * @property {JobError | null} error
 * @property {string | null} retryOf
 * @property {string} editTag
 * @property {number} version
 */

/** The job can no longer be followed: unknown, deleted, or not accessible to this caller. */
export class WatchError extends Error {
  /**
   * @param {string} message
   * @param {number} status  the HTTP status behind it; 410 if the stream reported that the job was deleted
   * @param {unknown} [cause]  the error thrown by `getTicket`
   */
  constructor(message, status, cause) {
    super(message, { cause });
    this.name = "WatchError";
    this.status = status;
  }
}

/**
 * Resolves with the job once it has ended, whatever the outcome: check `job.status`.
 *
 * ```js
 * import { watchJob } from "/static/watch-job.js";
 *
 * const response = await fetch("/jobs/report", { method: "POST", … });
 * const { statusUrl } = await response.json();
 * const job = await watchJob(statusUrl, { onProgress: ({ progress }) => (bar.value = progress) });
 * if (job.status === "completed") show(job.result);
 * ```
 *
 * It uses the progress stream (Server-Sent Events), polls according to `Retry-After` while that is unavailable,
 * survives lost connections and restarts of the server, and keeps no connection open after it settles.
 *
 * A page without a session on the server, for instance one of another site, needs a ticket for the job
 * (`POST /jobs/{id}/tickets`): as `?ticket=` in the URL, from `getTicket`, or both in this order.
 *
 * @param {string | URL} url  the job's `statusUrl` or `progressUrl`; resolved against the page
 *   (in a worker: against its script)
 * @param {object} [options]
 * @param {(job: Job) => void} [options.onProgress]
 *   called with each newer state, including the last; never with an older one. Without `result`.
 * @param {AbortSignal} [options.signal]  stops watching (not the job): rejects with `signal.reason`
 * @param {import("./job-access.js").GetTicket} [options.getTicket]
 *   called if the URL has no ticket, and again whenever the server no longer accepts the last one
 * @returns {Promise<Job>} the ended job with `input` and `result`, however large that is
 * @throws {WatchError} the job is unknown (404), was deleted (410), or is not accessible (401: the ticket
 *   has expired, and there is no new one)
 */
export async function watchJob(url, { onProgress, signal, getTicket } = {}) {
  signal?.throwIfAborted();
  const access = new JobAccess(url, getTicket);
  await new Promise((resolve, reject) => {
    const stop = new AbortController();
    const settle = (/** @type {() => void} */ how) => {
      stop.abort();
      signal?.removeEventListener("abort", abort);
      how();
    };
    const abort = () => settle(() => reject(signal?.reason));
    signal?.addEventListener("abort", abort);
    followJob(access, {
      onState(job) {
        try {
          onProgress?.(job);
        } catch (mistake) {
          return settle(() => reject(mistake));
        }
        if (hasEnded(job)) settle(() => resolve(undefined));
      },
      onGone: (status, cause) => settle(() => reject(goneError(status, cause))),
    }, stop.signal);
  });
  return await fetchEnded(access, signal);
}

/**
 * @typedef {object} JobHandlers
 * @property {(job: Job) => void} onState  newer states only
 * @property {(line: LogLine) => void} [onLog]
 * @property {() => void} [onReset]        the log starts over: the stream's position in it was lost
 * @property {(status: number, cause?: unknown) => void} onGone  404, 410 or another final error; nothing follows
 * @property {(state: import("./stream.js").Connection) => void} [onConnection]
 * @property {() => Promise<void>} [onPolled]  called with each poll, to fetch what only the stream sends
 */

/**
 * Follows a job until it has ended, is gone, or the signal is aborted. `watchJob` is built on it.
 *
 * @param {JobAccess} access
 * @param {JobHandlers} on
 * @param {AbortSignal} signal
 */
export function followJob(access, on, signal) {
  const stop = new AbortController();
  signal.addEventListener("abort", () => stop.abort(), { once: true });
  if (signal.aborted) return;
  let version = -1;
  let etag = "";
  let lastEventId = "";

  const take = (/** @type {Job} */ job) => {
    if (stop.signal.aborted || job.version <= version) return;
    version = job.version;
    if (hasEnded(job)) stop.abort();
    on.onState(job);
  };
  const end = (/** @type {number} */ status, /** @type {unknown} */ cause = null) => {
    if (stop.signal.aborted) return;
    stop.abort();
    on.onGone(status, cause);
  };
  const receive = (/** @type {string} */ name, /** @type {MessageEvent<string>} */ event) => {
    lastEventId = event.lastEventId || lastEventId;
    if (name === "message") take(JSON.parse(event.data));
    else if (name === "log") on.onLog?.(JSON.parse(event.data));
    else if (name === "reset") on.onReset?.();
    else if (name === "gone") end(410);
  };
  const poll = async (/** @type {AbortSignal} */ pollSignal) => {
    const { ticket } = access;
    const response = await access.request("", { headers: etag ? { "If-None-Match": etag } : {}, signal: pollSignal });
    // Read to the end, also a 304: otherwise the browser drops the connection, and each poll needs a new one.
    const body = await response.text();
    // Log lines do not create a new version, so they are fetched after a 304 too.
    if (response.ok || response.status === 304) await on.onPolled?.();
    if (response.ok) {
      etag = response.headers.get("ETag") ?? "";
      take(JSON.parse(body));
    } else if (isFinal(response)) end(response.status);
    return access.ticket === ticket ? retryAfterS(response) : 0;
  };
  const pollOrEnd = async (/** @type {AbortSignal} */ pollSignal) => {
    try {
      return await poll(pollSignal);
    } catch (problem) {
      if (!(problem instanceof NoTicket)) throw problem;
      end(401, problem.cause);
      return 0;
    }
  };

  const keep = () => keepStream({
    // EventSource sends Last-Event-ID only when it reconnects by itself; a new one needs it in the URL.
    url: () => access.url("/progress", { lastEventId }),
    events: ["log", "reset", "gone"],
    onEvent: receive,
    poll: pollOrEnd,
    onConnection: on.onConnection,
  }, stop.signal);
  void access.begin().then(keep, (problem) => end(401, problem.cause));
}

/**
 * @param {JobAccess} access
 * @param {AbortSignal} [signal]
 * @returns {Promise<Job>}
 */
async function fetchEnded(access, signal) {
  const response = await requestUntilAnswered(access, "", signal);
  if (!response.ok) throw goneError(response.status);
  const job = /** @type {Job} */ (await response.json());
  if (job.status === "completed" && job.result === null && job.resultUrl) {
    // Not from `resultUrl`: that may be on another server, which a ticket for the job does not give access to.
    const result = await requestUntilAnswered(access, "/result", signal);
    // 410: the output has been deleted since; the job itself can still be returned.
    if (result.ok) job.result = await result.json();
    else if (result.status !== 410) throw goneError(result.status);
  }
  return job;
}

/** For callers without a signal. */
const never = new AbortController().signal;

/** @param {JobAccess} access @param {string} below @param {AbortSignal} [signal] */
async function requestUntilAnswered(access, below, signal) {
  for (let pauseS = 1; ; pauseS = Math.min(pauseS * 2, 10)) {
    try {
      const response = await access.request(below, { signal });
      if (response.ok || isFinal(response)) return response;
      pauseS = retryAfterS(response, pauseS);
    } catch (problem) {
      if (problem instanceof NoTicket) throw goneError(401, problem.cause);
      if (!(problem instanceof Unreachable)) throw problem;
    }
    await pause(pauseS * 1000, signal ?? never);
    signal?.throwIfAborted();
  }
}

/** Whether repeating the request would not change the error. @param {Response} response */
const isFinal = ({ status }) => status >= 400 && status < 500 && status !== 408 && status !== 429;

/** @param {Job} job */
const hasEnded = ({ status }) => status !== "queued" && status !== "running";

/** @param {number} status @param {unknown} [cause] */
function goneError(status, cause) {
  /** @type {Record<number, string>} */
  const what = {
    401: "The job cannot be read: there is no valid key or ticket for it.",
    404: "The job does not exist.",
    410: "The job was deleted.",
  };
  return new WatchError(what[status] ?? `The job cannot be read (HTTP ${status}).`, status, cause);
}
