// Text for readers: numbers, sizes, durations, and what a job is doing. Pure: no DOM and no clock.

/** @typedef {import("./headway.js").JobState} Job */

/** Characters that reverse all text after them, up to the end of the line (Unicode, UAX #9, 2.1 and 2.2). */
const OVERRIDES = /[\u202a-\u202e]/g;
const ISOLATES = /[\u2066-\u2069]/g;
const END_OF_ISOLATE = "\u2069";
const VISIBLE = /[^\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/u;
/** Characters without a glyph, apart from those that join letters and emoji. */
const INVISIBLE = /[\u007f-\u009f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const oneDecimal = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
// Dates are in the reader's locale; words and numbers are English, like the rest of the page.
const stamp = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat("en", {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

/** Running jobs without an update for this long are marked. */
const SILENCE_S = 10;

const STATUSES = {
  queued: { glyph: "○", word: "Queued" },
  running: { glyph: "▸", word: "Running" },
  stopping: { glyph: "■", word: "Stopping" },
  completed: { glyph: "✓", word: "Completed" },
  failed: { glyph: "✕", word: "Failed" },
  cancelled: { glyph: "–", word: "Cancelled" },
};

/** @param {Job} job */
export const isTerminal = (job) =>
  job.status === "completed" || job.status === "failed" || job.status === "cancelled";

/**
 * Text that can stand beside other text. Overrides become visible, as U+FFFD, and isolates end with the text; an
 * isolated name in another script stays as it is.
 *
 * @param {string} text
 */
export function steady(text) {
  let open = 0;
  for (const [isolate] of text.matchAll(ISOLATES)) open = isolate === END_OF_ISOLATE ? Math.max(0, open - 1) : open + 1;
  return text.replace(OVERRIDES, "\ufffd") + END_OF_ISOLATE.repeat(open);
}

/** @param {Job} job @param {string} typeTitle  what a job is called: its label, if there is anything to see of it */
export const jobName = (job, typeTitle) => (job.label && VISIBLE.test(job.label) ? job.label : typeTitle);

/** @param {unknown} value  as JSON text, in which invisible characters are escapes */
export const visibleJson = (value) =>
  (JSON.stringify(value, null, 2) ?? "").replace(INVISIBLE, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`);

/**
 * What the badge shows. "Stopping" is not a status of the API but a requested cancellation.
 *
 * @param {Job} job
 * @returns {{key: string, glyph: string, word: string}}
 */
export function statusOf(job) {
  const key = job.cancelRequested && !isTerminal(job) ? "stopping" : job.status;
  return { key, ...STATUSES[key] };
}

/** @param {number} value */
export const count = (value) => (Number.isInteger(value) ? whole : oneDecimal).format(value);

/** @param {number} value bytes, in decimal units like those of disks and most file managers */
export function bytes(value) {
  if (value < 1000) return `${whole.format(value)} B`;
  for (const [size, unit] of /** @type {[number, string][]} */ ([[1e9, "GB"], [1e6, "MB"]])) {
    if (value >= size * 0.9995) return `${oneDecimal.format(value / size)} ${unit}`;
  }
  return `${oneDecimal.format(value / 1000)} kB`;
}

/** @param {number} seconds exact, for the past: "12 s", "3 min 5 s", "2 h 10 min" */
export function duration(seconds) {
  if (seconds < 0.05) return "less than 0.1 s";
  if (seconds < 9.95) return `${oneDecimal.format(seconds)} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s / 60} min`;
  const minutes = Math.floor((s % 3600) / 60);
  return minutes ? `${whole.format(Math.floor(s / 3600))} h ${minutes} min` : `${s / 3600} h`;
}

/** @param {number} seconds rounded, for estimates, so that they do not change with every tick */
export function roughly(seconds) {
  if (seconds <= 10) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 58) return `${Math.round(seconds / 5) * 5} s`;
  if (seconds < 3570) return `${Math.max(1, Math.round(seconds / 60))} min`;
  return duration(Math.round(seconds / 300) * 300);
}

/** @param {string} at RFC 3339 @param {number} nowMs */
export function ago(at, nowMs) {
  const seconds = (nowMs - Date.parse(at)) / 1000;
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds / 5) * 5} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return stamp.format(new Date(at));
}

/** @param {string} at */
export const dateAndTime = (at) => stamp.format(new Date(at));

/** @param {string} at */
export const timeOfDay = (at) => clock.format(new Date(at));

/** @param {string} at @param {number} nowMs a time of day, with the date unless it is today */
function moment(at, nowMs) {
  const sameDay = new Date(at).toDateString() === new Date(nowMs).toDateString();
  return sameDay ? timeOfDay(at) : dateAndTime(at);
}

/** @param {Job} job "45%", rounded down as the server does; "" while unknown */
export const percent = (job) => (job.progress === null ? "" : `${Math.floor(job.progress)}%`);

/** @param {Job} job "420/1,000 rows", "1.2 MB of 3.4 MB", "17 rows"; "" without a count */
export function amount({ done, total, unit, status }) {
  if (done === null) return "";
  // A completed job has done everything, even if it did not count the last item.
  if (status === "completed") return unit === "seconds" ? "" : quantity(total ?? done, unit);
  if (total === null) return quantity(done, unit);
  if (unit === "bytes" || unit === "seconds") return `${quantity(done, unit)} of ${quantity(total, unit)}`;
  return `${count(done)}/${quantity(total, unit)}`;
}

/** @param {number} value @param {string | null} unit */
function quantity(value, unit) {
  if (unit === "bytes") return bytes(value);
  if (unit === "seconds") return duration(value);
  return unit ? `${count(value)} ${steady(unit)}` : count(value);
}

/** @param {Job} job @param {number} nowMs the line under the bar */
export function progressLine(job, nowMs) {
  if (job.status === "queued") return waitingLine(job, nowMs);
  if (isTerminal(job)) return endLine(job);
  const parts = [amount(job)];
  // A rate in seconds per second would be confusing.
  if (job.ratePerSecond !== null && job.unit !== "seconds") {
    parts.push(`${job.unit === "bytes" ? bytes(job.ratePerSecond) : rate(job.ratePerSecond)}/s`);
  }
  if (job.etaSeconds !== null) {
    parts.push(
      job.progress === null
        ? `usually takes about ${roughly(job.etaSeconds)}`
        : `about ${roughly(job.etaSeconds)} left`,
    );
  }
  return parts.filter(Boolean).join(" · ");
}

/** @param {number} value */
const rate = (value) => (value >= 10 ? whole : oneDecimal).format(value);

/** @param {Job} job @param {number} nowMs why a queued job has not started */
function waitingLine(job, nowMs) {
  const waitS = job.runAt === null ? 0 : (Date.parse(job.runAt) - nowMs) / 1000;
  if (waitS > 0 && job.attempt > 0) {
    return `attempt ${job.attempt + 1} of ${job.maxAttempts} in ${duration(Math.ceil(waitS))}`;
  }
  if (waitS > 0) return `starts at ${moment(/** @type {string} */ (job.runAt), nowMs)}`;
  const parts = [];
  if (job.queuePosition === 1) parts.push("next in the queue");
  else if (job.queuePosition !== null) parts.push(`position ${count(job.queuePosition)} in the queue`);
  else parts.push("waiting for a free slot");
  if (job.etaSeconds !== null) parts.push(`usually takes about ${roughly(job.etaSeconds)}`);
  return parts.join(" · ");
}

/** @param {Job} job */
function endLine(job) {
  const parts = [amount(job)];
  if (job.startedAt && job.completedAt) {
    const seconds = (Date.parse(job.completedAt) - Date.parse(job.startedAt)) / 1000;
    parts.push(job.status === "completed" ? `took ${duration(seconds)}` : `${job.status} after ${duration(seconds)}`);
  }
  return parts.filter(Boolean).join(" · ");
}

/** @param {Job} job step and message, whichever there are */
export function activityLine(job) {
  if (job.status === "failed" && job.error) return [steady(job.error.title), job.error.detail].filter(Boolean).join(": ");
  // The last step of a completed job is no longer what it is doing.
  if (job.status === "completed") return job.message ?? "";
  if (job.step && job.message && job.step !== job.message) return `${steady(job.step)}: ${job.message}`;
  return job.message ?? job.step ?? "";
}

/** @param {Job} job @param {number} nowMs "" unless a running job has had no update for a while */
export function silenceLine(job, nowMs) {
  if (job.status !== "running" || !job.updatedAt) return "";
  const seconds = (nowMs - Date.parse(job.updatedAt)) / 1000;
  return seconds < SILENCE_S ? "" : `no update for ${duration(Math.floor(seconds))}`;
}

/** @param {import("./api.js").Delivery} delivery @param {number} nowMs  whether an attempt is in flight or about to start */
export const isBeingSent = ({ status, nextAttemptAt }, nowMs) =>
  status === "pending" && (nextAttemptAt === null || Date.parse(nextAttemptAt) < nowMs + 1000);

/**
 * The state of a delivery. With times of day, not ages, because it is not repainted every second.
 *
 * @param {import("./api.js").Delivery} delivery
 * @param {number} nowMs
 */
export function deliveryLine(delivery, nowMs) {
  const { status, attempts, nextAttemptAt, lastAttemptAt, lastStatus, deliveredAt } = delivery;
  const parts = [];
  const lastAt = status === "delivered" ? deliveredAt : lastAttemptAt;
  // The error is shown separately.
  const what = status === "delivered" ? `answered ${lastStatus}` : "last tried";
  if (lastAt) parts.push(`${what} at ${moment(lastAt, nowMs)}`);
  if (attempts > 0) parts.push(attempts === 1 ? "1 attempt" : `${count(attempts)} attempts`);
  if (isBeingSent(delivery, nowMs)) parts.push("being sent");
  else if (status === "pending" && nextAttemptAt) parts.push(`next at ${moment(nextAttemptAt, nowMs)}`);
  return parts.join(" · ");
}
