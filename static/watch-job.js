// Follows one job to its end, for this page or any other: the stream when it can be had, else polling.

import { keepStream, pause, request, retryAfterS, Unreachable } from "./stream.js";

/** @typedef {{name: string, sizeBytes: number, contentType: string, url: string}} OutputFile */
/** @typedef {{type: string, title: string, detail: string | null, status: number | null}} JobError */
/** @typedef {{seq: number, at: string, level: string, message: string}} LogLine */
/**
 * A job as the API represents it. `input` and `result` stand only in the answer of `statusUrl`.
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
 * @property {OutputFile[] | null} files
 * @property {JobError | null} error
 * @property {string | null} retryOf
 * @property {number} version
 */

/** The job could not be followed further: unknown, deleted, or not for this caller. */
export class WatchError extends Error {
  /**
   * @param {string} message
   * @param {number} status  the HTTP status behind it; 410 when the stream said that the job is gone
   */
  constructor(message, status) {
    super(message);
    this.name = "WatchError";
    this.status = status;
  }
}

/**
 * Resolves with the job once it has ended, whatever the outcome: read `job.status`.
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
 * It uses the progress stream (Server-Sent Events), polls by `Retry-After` while that cannot be had,
 * survives lost connections and restarts of the server, and holds no connection after it settles.
 *
 * @param {string | URL} url  the job's `statusUrl` or `progressUrl`; relative ones belong to the page
 *   (in a worker: to its script)
 * @param {object} [options]
 * @param {(job: Job) => void} [options.onProgress]
 *   called with each newer state, the last one included; never with an older one. Without `result`.
 * @param {AbortSignal} [options.signal]  stops watching (not the job): rejects with `signal.reason`
 * @returns {Promise<Job>} the ended job with `input` and `result`; a result too big for the job itself
 *   is fetched from `resultUrl`
 * @throws {WatchError} the job is unknown (404), was deleted (410), or may not be read
 */
export async function watchJob(url, { onProgress, signal } = {}) {
  signal?.throwIfAborted();
  const { statusUrl } = jobUrls(url);
  await new Promise((resolve, reject) => {
    const stop = new AbortController();
    const settle = (/** @type {() => void} */ how) => {
      stop.abort();
      signal?.removeEventListener("abort", abort);
      how();
    };
    const abort = () => settle(() => reject(signal?.reason));
    signal?.addEventListener("abort", abort);
    followJob(url, {
      onState(job) {
        try {
          onProgress?.(job);
        } catch (mistake) {
          return settle(() => reject(mistake));
        }
        if (hasEnded(job)) settle(() => resolve(undefined));
      },
      onGone: (status) => settle(() => reject(goneError(status))),
    }, stop.signal);
  });
  return await fetchEnded(statusUrl, signal);
}

/**
 * @typedef {object} JobHandlers
 * @property {(job: Job) => void} onState  newer states only
 * @property {(line: LogLine) => void} [onLog]
 * @property {() => void} [onReset]        the log starts anew: the stream's place in it was lost
 * @property {(status: number) => void} onGone  404, 410 or another refusal; nothing follows
 * @property {(state: import("./stream.js").Connection) => void} [onConnection]
 * @property {() => Promise<void>} [onPolled]  beside each poll, for what only the stream brings
 */

/**
 * Follows a job until it has ended, is gone, or the signal fires; the piece under `watchJob`.
 *
 * @param {string | URL} url  the job's `statusUrl` or `progressUrl`
 * @param {JobHandlers} on
 * @param {AbortSignal} signal
 */
export function followJob(url, on, signal) {
  const { statusUrl, progressUrl } = jobUrls(url);
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
  const end = (/** @type {number} */ status) => {
    if (stop.signal.aborted) return;
    stop.abort();
    on.onGone(status);
  };
  const hear = (/** @type {string} */ name, /** @type {MessageEvent<string>} */ event) => {
    lastEventId = event.lastEventId || lastEventId;
    if (name === "message") take(JSON.parse(event.data));
    else if (name === "log") on.onLog?.(JSON.parse(event.data));
    else if (name === "reset") on.onReset?.();
    else if (name === "gone") end(410);
  };
  const poll = async (/** @type {AbortSignal} */ pollSignal) => {
    const headers = etag ? { "If-None-Match": etag } : undefined;
    const response = await request(statusUrl, { headers, signal: pollSignal });
    // Read to its end, a 304 too: else the browser gives up the connection, and each poll needs a new one.
    const body = await response.text();
    // Log lines make no new version, so they are asked for beside a 304 too.
    if (response.ok || response.status === 304) await on.onPolled?.();
    if (response.ok) {
      etag = response.headers.get("ETag") ?? "";
      take(JSON.parse(body));
    } else if (isFinal(response)) end(response.status);
    return retryAfterS(response);
  };

  keepStream({
    // EventSource itself sends Last-Event-ID only when it reconnects; a new one has to say it here.
    url: () => withParameter(progressUrl, "lastEventId", lastEventId),
    events: ["log", "reset", "gone"],
    onEvent: hear,
    poll,
    onConnection: on.onConnection,
  }, stop.signal);
}

/**
 * @param {URL} statusUrl
 * @param {AbortSignal} [signal]
 * @returns {Promise<Job>}
 */
async function fetchEnded(statusUrl, signal) {
  const response = await requestUntilAnswered(statusUrl, signal);
  if (!response.ok) throw goneError(response.status);
  const job = /** @type {Job} */ (await response.json());
  if (job.status === "completed" && job.result === null && job.resultUrl) {
    const result = await requestUntilAnswered(new URL(job.resultUrl, statusUrl), signal);
    // 410: the output was deleted since; the job itself is still a good answer.
    if (result.ok) job.result = await result.json();
    else if (result.status !== 410) throw goneError(result.status);
  }
  return job;
}

/** For callers without a signal. */
const never = new AbortController().signal;

/** @param {URL} url @param {AbortSignal} [signal] */
async function requestUntilAnswered(url, signal) {
  for (let pauseS = 1; ; pauseS = Math.min(pauseS * 2, 10)) {
    try {
      const response = await request(url, { signal });
      if (response.ok || isFinal(response)) return response;
      pauseS = retryAfterS(response, pauseS);
    } catch (problem) {
      if (!(problem instanceof Unreachable)) throw problem;
    }
    await pause(pauseS * 1000, signal ?? never);
    signal?.throwIfAborted();
  }
}

/** @param {string | URL} url @returns {{statusUrl: URL, progressUrl: URL}} */
function jobUrls(url) {
  const statusUrl = new URL(url, globalThis.document?.baseURI ?? location.href);
  statusUrl.pathname = statusUrl.pathname.replace(/\/(progress)?$/, "");
  const progressUrl = new URL(statusUrl);
  progressUrl.pathname += "/progress";
  return { statusUrl, progressUrl };
}

/** @param {URL} url @param {string} name @param {string} value */
function withParameter(url, name, value) {
  const copy = new URL(url);
  if (value) copy.searchParams.set(name, value);
  return copy;
}

/** An error that asking again would not change. @param {Response} response */
const isFinal = ({ status }) => status >= 400 && status < 500 && status !== 408 && status !== 429;

/** @param {Job} job */
const hasEnded = ({ status }) => status !== "queued" && status !== "running";

/** @param {number} status */
function goneError(status) {
  const what = { 404: "There is no such job.", 410: "The job was deleted." }[status];
  return new WatchError(what ?? `The job cannot be read (HTTP ${status}).`, status);
}
