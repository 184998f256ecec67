// Every request that the page makes, and the errors that the server answers with.

import { request, retryAfterS, Unreachable } from "./stream.js";

/** @typedef {import("./watch-job.js").Job} Job */
/** @typedef {import("./watch-job.js").LogLine} LogLine */
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

/** Links are relative to the page, so the server may be mounted under a path prefix. */
const root = new URL(".", document.baseURI);

/** @param {string} path @param {Record<string, string | number | null>} [query] nulls are omitted */
export function at(path, query = {}) {
  const url = new URL(path, root);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null) url.searchParams.set(name, String(value));
  }
  return url;
}

/** @param {string} id */
export const jobUrl = (id) => at(`jobs/${encodeURIComponent(id)}`);

/** @param {string} id @param {string} name @param {boolean} [inline] to view instead of download */
export const fileUrl = (id, name, inline = false) =>
  at(`jobs/${encodeURIComponent(id)}/files/${encodeURIComponent(name)}`, inline ? { inline: "true" } : {});

/**
 * @param {string} id
 * @param {string} cursor  the name of the last file of the page before
 * @param {AbortSignal} signal
 * @returns {Promise<import("./watch-job.js").OutputFile[]>}  the next page of output files, by name
 */
export const getFiles = async (id, cursor, signal) =>
  (await call("GET", at(`jobs/${encodeURIComponent(id)}/files`, { cursor, limit: 200 }), signal)).body.files;

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

/** An error response: `application/problem+json` (RFC 9457). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {{title?: string, detail?: string, errors?: FieldError[]} | null} body
   * @param {number | null} retryAfter  seconds
   */
  constructor(status, body, retryAfter) {
    super(body?.title ?? `The server answered ${status}`);
    this.name = "Problem";
    this.status = status;
    this.detail = body?.detail ?? "";
    this.errors = body?.errors ?? [];
    this.retryAfter = retryAfter;
  }
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

/**
 * @param {string} method
 * @param {URL} url
 * @param {{json?: unknown, signal?: AbortSignal}} [options]
 * @returns {Promise<{response: Response, body: any}>}
 * @throws {Problem | Unreachable}
 */
export async function send(method, url, { json, signal } = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  const response = await request(url, { method, signal, headers, body: JSON.stringify(json) });
  setClock(response.headers.get("Date"));
  const body = await response.json().catch(() => null);
  if (response.ok) return { response, body };
  const wait = response.headers.has("Retry-After") ? retryAfterS(response) : null;
  throw new Problem(response.status, body, wait);
}

/**
 * `send` for all requests but the session's own: a 401 is reported.
 *
 * @param {string} method
 * @param {URL} url
 * @param {AbortSignal} [signal]
 */
async function call(method, url, signal) {
  try {
    return await send(method, url, { signal });
  } catch (problem) {
    if (problem instanceof Problem) noteStatus(problem.status);
    throw problem;
  }
}

/** @returns {Promise<JobType[]>} */
export const getJobTypes = async () => (await call("GET", at("job-types"))).body.jobTypes;

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Job>} */
export const getJob = async (id, signal) => (await call("GET", jobUrl(id), signal)).body;

/**
 * @param {Record<string, string | number | null>} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<{jobs: Job[], nextCursor: string | null, retryAfter: number}>}
 */
export async function listJobs(query, signal) {
  const { response, body } = await call("GET", at("jobs", query), signal);
  return { ...body, retryAfter: retryAfterS(response) };
}

/**
 * @param {string} id
 * @param {number} after
 * @returns {Promise<{lines: LogLine[], nextAfter: number | null}>}
 */
export async function getLog(id, after) {
  return (await call("GET", at(`jobs/${encodeURIComponent(id)}/logs`, { after }))).body;
}

/** @param {string} id @returns {Promise<{stopped: boolean}>} false: recorded, and still stopping */
export async function cancelJob(id) {
  const { response } = await call("DELETE", jobUrl(id));
  return { stopped: response.status === 204 };
}

/** @param {string} id @returns {Promise<{deleted: boolean}>} false: it will be deleted once it has stopped */
export async function deleteJob(id) {
  const { response } = await call("DELETE", at(`jobs/${encodeURIComponent(id)}`, { purge: "true" }));
  return { deleted: response.status === 204 };
}

/** @param {string} id @returns {Promise<Job>} the new job */
export const retryJob = async (id) => (await call("POST", at(`jobs/${encodeURIComponent(id)}/retry`))).body;

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
  (await call("GET", at(`jobs/${encodeURIComponent(id)}/deliveries`), signal)).body.deliveries;

/** @param {string} id @param {string} deliveryId @returns {Promise<Delivery>} */
export async function redeliver(id, deliveryId) {
  const path = `jobs/${encodeURIComponent(id)}/deliveries/${encodeURIComponent(deliveryId)}/redeliver`;
  return (await call("POST", at(path))).body;
}

/**
 * Submits a job. By XMLHttpRequest, because fetch does not report an upload's progress.
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
export function submitJob({ type, options, input, files, key }, onUpload, signal) {
  const json = JSON.stringify(input);
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("POST", at(`jobs/${encodeURIComponent(type)}`, options));
    xhr.setRequestHeader("Accept", "application/json");
    xhr.setRequestHeader("Idempotency-Key", `"${key}"`);
    const abort = () => xhr.abort();
    signal.addEventListener("abort", abort, { once: true });
    xhr.upload.onprogress = (event) => onUpload(event.loaded, event.total);
    xhr.onloadend = () => signal.removeEventListener("abort", abort);
    xhr.onabort = () => reject(signal.reason);
    xhr.onerror = () => reject(new Unreachable(null));
    xhr.onload = () => {
      const body = parse(xhr.responseText);
      noteStatus(xhr.status);
      if (xhr.status >= 200 && xhr.status < 300 && body) return resolve(body);
      reject(new Problem(xhr.status, body, Number(xhr.getResponseHeader("Retry-After")) || null));
    };
    if (files.size === 0) {
      xhr.setRequestHeader("Content-Type", "application/json");
      xhr.send(json);
    } else xhr.send(multipart(json, files));
  });
}

/** @param {string} json @param {Map<string, File>} files */
function multipart(json, files) {
  const form = new FormData();
  // A text part, not a Blob: FormData gives every Blob a file name, which makes it a file.
  form.append("input", json);
  for (const [name, file] of files) form.append(name, file, file.name);
  return form;
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @param {AbortSignal} [signal] */
export const getUsage = async (signal) => (await call("GET", at("usage"), signal)).body;

/** The message for users when a request has failed. @param {unknown} problem */
export function explain(problem) {
  if (problem instanceof Unreachable) return "The server cannot be reached. Try again.";
  if (!(problem instanceof Problem)) return String(problem);
  if (problem.status === 401) return "Your session has ended, so nothing was changed. Sign in and try again.";
  const what = sentence(problem.detail ? `${problem.message}: ${problem.detail}` : problem.message);
  // 429 and 503: the request was valid and may succeed later.
  return problem.retryAfter === null ? what : `${what} Try again in ${Math.ceil(problem.retryAfter)} s.`;
}

/** @param {string} text with a full stop, unless it ends a sentence already */
const sentence = (text) => (/[.!?…]$/.test(text) ? text : `${text}.`);
