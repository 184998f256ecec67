// Every request that the page makes, and the errors that the server answers with.

import { Client, Problem, retryAfterS, Unreachable } from "./headway.js";
import { sendWithProgress } from "./upload.js";

/** @typedef {import("./headway.js").JobState} Job */
/** @typedef {import("./headway.js").LogLine} LogLine */
/** @typedef {import("./schema.js").Schema} Schema */
/**
 * @typedef {object} JobType
 * @property {string} name
 * @property {string | null} title
 * @property {string | null} description
 * @property {Schema} inputSchema
 * @property {boolean} available
 * @property {string | null} unavailableReason
 * @property {string[]} [uploads]
 */
/** @typedef {{pointer: string, detail: string}} FieldError */

/** The server, relative to the page: it may be mounted under a path prefix. */
export const client = new Client(new URL(".", document.baseURI), { fetch: timed });

/** @param {string} path @param {Record<string, string | number | null>} [query] nulls are omitted */
export const at = (path, query) => client.url(path, query);

/** @param {string} id */
const pathOf = (id) => client.job(id).path;

/** @param {string} id @param {string} name @param {boolean} [inline] to view instead of download */
export const fileUrl = (id, name, inline = false) =>
  at(`${pathOf(id)}/files/${encodeURIComponent(name)}`, inline ? { inline: "true" } : {});

/**
 * @param {string} id
 * @param {string} cursor  the name of the last file of the page before
 * @param {AbortSignal} signal
 * @returns {Promise<import("./headway.js").OutputFile[]>}  the next page of output files, by name
 */
export const getFiles = async (id, cursor, signal) =>
  (await call("GET", `${pathOf(id)}/files`, { query: { cursor, limit: 200 }, signal })).body.files;

/**
 * The URL of the result if the job's handler made it a resource of its own; else null.
 *
 * @param {Job} job
 */
export function resourceUrl({ jobId, resultUrl }) {
  if (!resultUrl) return null;
  // A path is relative to the server, including the prefix that it is mounted under.
  const url = resultUrl.startsWith("/") ? at(`.${resultUrl}`) : new URL(resultUrl);
  return url.pathname.endsWith(`/jobs/${jobId}/result`) ? null : url;
}

/** The server's time minus the browser's: jobs have the server's times, and clocks differ. */
let clockOffsetMs = 0;

/** The server's current time, to about a second. */
export const serverNow = () => Date.now() + clockOffsetMs;

/** @param {string | null} date the `Date` header, truncated to whole seconds: half a second on average */
function setClock(date) {
  const serverMs = date === null ? NaN : Date.parse(date) + 500;
  // Differences of about a second cannot be measured this way.
  if (!Number.isNaN(serverMs)) {
    const offsetMs = serverMs - Date.now();
    clockOffsetMs = Math.abs(offsetMs) < 1500 ? 0 : offsetMs;
  }
}

/** @type {() => void} */
let onUnauthorized = () => {};

/** @param {() => void} listener called when a request fails with 401: there is no session, or it has ended */
export const whenUnauthorized = (listener) => (onUnauthorized = listener);

/** For modules that make their own requests. @param {number} status */
export function noteStatus(status) {
  if (status === 401) onUnauthorized();
}

/** @param {URL} url @param {RequestInit} init */
async function timed(url, init) {
  const response = await fetch(url, init);
  setClock(response.headers.get("Date"));
  return response;
}

/**
 * A request whose failure is shown, so it is not repeated.
 *
 * @param {string} method
 * @param {string} path
 * @param {import("./headway.js").CallOptions} [options]
 * @throws {Problem | Unreachable}
 */
export const send = (method, path, options) => client.call(method, path, { retries: 0, ...options });

/**
 * `send` for all requests but the session's own: a 401 is reported.
 *
 * @param {string} method
 * @param {string} path
 * @param {import("./headway.js").CallOptions} [options]
 */
const call = (method, path, options) => noting(send(method, path, options));

/** @template T @param {Promise<T>} answer @returns {Promise<T>} */
async function noting(answer) {
  try {
    return await answer;
  } catch (problem) {
    if (problem instanceof Problem) noteStatus(problem.status);
    throw problem;
  }
}

/** @returns {Promise<JobType[]>} */
export const getJobTypes = async () => (await call("GET", "job-types")).body.jobTypes;

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Job>} */
export const getJob = async (id, signal) => (await call("GET", pathOf(id), { signal })).body;

/**
 * @param {Record<string, string | number | null>} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<{jobs: Job[], nextCursor: string | null, retryAfter: number}>}
 */
export async function listJobs(query, signal) {
  const { response, body } = await call("GET", "jobs", { query, signal });
  return { ...body, retryAfter: retryAfterS(response) ?? 2 };
}

/**
 * @param {string} id
 * @param {number} after
 * @returns {Promise<{lines: LogLine[], nextAfter: number | null}>}
 */
export async function getLog(id, after) {
  return (await call("GET", `${pathOf(id)}/logs`, { query: { after } })).body;
}

/** @param {string} id @returns {Promise<{stopped: boolean}>} false: recorded, and still stopping */
export async function cancelJob(id) {
  const { response } = await call("DELETE", pathOf(id));
  return { stopped: response.status === 204 };
}

/** @param {string} id @returns {Promise<{deleted: boolean}>} false: it will be deleted once it has stopped */
export async function deleteJob(id) {
  const { response } = await call("DELETE", pathOf(id), { query: { purge: true } });
  return { deleted: response.status === 204 };
}

/** @param {string} id @returns {Promise<Job>} the new job */
export const retryJob = async (id) => (await call("POST", `${pathOf(id)}/retry`)).body;

/**
 * The delivery of one webhook to its receiver.
 *
 * @typedef {object} Delivery
 * @property {string} deliveryId
 * @property {string} event
 * @property {string} url
 * @property {"pending" | "delivered" | "failed"} status
 * @property {number} attempts
 * @property {string} createdAt
 * @property {string | null} nextAttemptAt
 * @property {string | null} lastAttemptAt
 * @property {string | null} deliveredAt
 * @property {number | null} lastStatus
 * @property {string | null} lastError
 */

/** @param {string} id @param {AbortSignal} signal @returns {Promise<Delivery[]>} newest first */
export const getDeliveries = async (id, signal) =>
  (await call("GET", `${pathOf(id)}/deliveries`, { signal })).body.deliveries;

/** @param {string} id @param {string} deliveryId @returns {Promise<Delivery>} */
export async function redeliver(id, deliveryId) {
  return (await call("POST", `${pathOf(id)}/deliveries/${encodeURIComponent(deliveryId)}/redeliver`)).body;
}

/**
 * Submits a job.
 *
 * @param {object} job
 * @param {string} job.type
 * @param {Record<string, string | null>} job.options  as query parameters; nulls are omitted
 * @param {unknown} job.input
 * @param {Map<string, File>} job.files
 * @param {string} job.key  the idempotency key: the same when a submission is repeated, so that it cannot run twice
 * @param {(sent: number, total: number) => void} onUpload  bytes
 * @param {AbortSignal} signal
 * @returns {Promise<Job>}
 * @throws {Problem | Unreachable}
 */
export async function submitJob({ type, options, input, files, key }, onUpload, signal) {
  const submission = client.submit(type, input, {
    ...options, files: Object.fromEntries(files), idempotencyKey: key, retries: 0, signal,
    fetch: files.size > 0 ? sendWithProgress(onUpload) : timed,
  });
  return /** @type {Job} */ ((await noting(submission)).state);
}

/** @param {AbortSignal} [signal] */
export const getUsage = async (signal) => (await call("GET", "usage", { signal })).body;

/** The message for users when a request has failed. @param {unknown} problem */
export function explain(problem) {
  if (problem instanceof Unreachable) return "The server cannot be reached. Try again.";
  if (!(problem instanceof Problem)) return String(problem);
  if (problem.status === 401) return "Your session has ended, so nothing was changed. Sign in and try again.";
  const what = sentence(problem.message);
  // 429 and 503: the request was valid and may succeed later.
  return problem.retryAfter === null ? what : `${what} Try again in ${Math.ceil(problem.retryAfter)} s.`;
}

/** @param {string} text with a full stop, unless it ends a sentence already */
const sentence = (text) => (/[.!?…]$/.test(text) ? text : `${text}.`);
