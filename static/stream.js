// One event stream, and polling instead while the stream is unavailable.

/** @typedef {"connecting" | "live" | "reconnecting" | "polling" | "offline"} Connection */
/**
 * @typedef {object} StreamOptions
 * @property {() => URL | string} url      called for every connection, so that it can contain a cursor
 * @property {string[]} [events]           named events to listen for, beside the unnamed ones
 * @property {() => void} [onOpen]         called for every connection, EventSource's own reconnects included
 * @property {(name: string, event: MessageEvent<string>) => void} onEvent
 * @property {(signal: AbortSignal) => Promise<number>} poll
 *   fetches what the stream would have sent; resolves with the seconds until the next poll, or 0 if the reason for
 *   rejecting the stream no longer exists and it can be opened immediately; throws if the server cannot be reached
 * @property {(state: Connection, everyS?: number) => void} [onConnection]
 */

/** EventSource retries indefinitely; after this many failures in a row, polling takes over. */
const FAILURES_BEFORE_POLLING = 3;
/** A stream that neither opens nor fails: all of the browser's connections to this host are in use. */
const OPEN_DEADLINE_MS = 10_000;
/** After this long without an event, the connection is checked by polling once. */
const SILENCE_MS = 45_000;
/** Pauses between attempts to open a rejected stream. */
const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 60_000;
/** The longest pause between polls while the server cannot be reached. */
const LONGEST_OUTAGE_PAUSE_S = 10;

/**
 * Keeps a stream open until the signal is aborted. EventSource reconnects by itself after a connection is lost or
 * ends, but gives up permanently on any status but 200 (WHATWG HTML, "server-sent events"). Then, or if the server
 * stays unreachable, this polls and retries the stream at intervals.
 *
 * @param {StreamOptions} options
 * @param {AbortSignal} signal
 */
export function keepStream(options, signal) {
  if (!signal.aborted) new Stream(options, signal).open();
}

class Stream {
  #failures = 0;
  #attemptsSinceOpen = 0;
  #receivedMs = performance.now();
  /** @type {EventSource | null} */
  #source = null;
  /** @type {Connection} */
  #connection = "connecting";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #deadline;

  /** @param {StreamOptions} options @param {AbortSignal} signal */
  constructor(options, signal) {
    this.options = options;
    this.signal = signal;
    const probe = () => void this.#probe();
    const silence = setInterval(() => {
      if (performance.now() - this.#receivedMs > SILENCE_MS) probe();
    }, SILENCE_MS / 3);
    for (const name of ["online", "offline"]) addEventListener(name, probe);
    signal.addEventListener("abort", () => {
      clearInterval(silence);
      for (const name of ["online", "offline"]) removeEventListener(name, probe);
      this.#close();
    }, { once: true });
  }

  open() {
    const source = new EventSource(this.options.url());
    this.#source = source;
    this.#failures = 0;
    this.#deadline = setTimeout(() => this.#giveUp(true), OPEN_DEADLINE_MS);
    source.onopen = () => this.#opened();
    source.onerror = () => this.#failed(source);
    const receive = (/** @type {MessageEvent} */ event) => {
      // A handler may have closed the stream in the same burst of events; later ones are ignored.
      if (this.#source !== source) return;
      this.#receivedMs = performance.now();
      this.options.onEvent(event.type, event);
    };
    for (const name of ["message", ...(this.options.events ?? [])]) source.addEventListener(name, receive);
  }

  #opened() {
    clearTimeout(this.#deadline);
    this.#failures = 0;
    this.#attemptsSinceOpen = 0;
    this.#receivedMs = performance.now();
    this.options.onOpen?.();
    this.#report("live");
  }

  /** @param {EventSource} source */
  #failed(source) {
    if (source.readyState === EventSource.CLOSED) return this.#giveUp(true);
    this.#failures += 1;
    if (this.#failures >= FAILURES_BEFORE_POLLING) return this.#giveUp(false);
    // While polling works, a failed attempt to open the stream need not be shown.
    if (this.#connection !== "polling") this.#report(navigator.onLine ? "reconnecting" : "offline");
  }

  /** @param {boolean} rejected  false: the server could not be reached at all */
  #giveUp(rejected) {
    this.#close();
    const retryMs = Math.min(FIRST_RETRY_MS * 2 ** this.#attemptsSinceOpen, LONGEST_RETRY_MS) * jitter();
    // After an outage the stream is opened as soon as the server answers again, but only the first time.
    const waitMs = rejected || this.#attemptsSinceOpen > 0 ? retryMs : 0;
    this.#attemptsSinceOpen += 1;
    void this.#pollUntil(performance.now() + waitMs);
  }

  /** @param {number} retryAtMs from when on a successful poll is followed by opening the stream */
  async #pollUntil(retryAtMs) {
    let outagePauseS = 1;
    while (!this.signal.aborted) {
      let pauseS;
      try {
        pauseS = await this.options.poll(this.signal);
        if (this.signal.aborted) return;
        outagePauseS = 1;
        if (pauseS === 0 || performance.now() >= retryAtMs) return this.open();
        this.#report("polling", pauseS);
      } catch (problem) {
        if (this.signal.aborted) return;
        if (!(problem instanceof Unreachable)) console.warn("Polling failed:", problem);
        pauseS = outagePauseS;
        outagePauseS = Math.min(outagePauseS * 2, LONGEST_OUTAGE_PAUSE_S);
        this.#report("offline");
      }
      await pause(pauseS * 1000, this.signal);
    }
  }

  /**
   * Checks the connection after the network came or went, or after a long silence. A connection that was cut may
   * appear open for minutes, and scripts cannot see the comments that keep an idle one alive. A server on this
   * machine, however, stays reachable without a network.
   */
  async #probe() {
    const source = this.#source;
    if (source?.readyState !== EventSource.OPEN) return;
    this.#receivedMs = performance.now();
    try {
      await this.options.poll(this.signal);
    } catch {
      if (this.#source === source && !this.signal.aborted) this.#giveUp(false);
    }
  }

  #close() {
    clearTimeout(this.#deadline);
    this.#source?.close();
    this.#source = null;
  }

  /** @param {Connection} state @param {number} [everyS] */
  #report(state, everyS) {
    this.#connection = state;
    this.options.onConnection?.(state, everyS);
  }
}

/** Jitter, so that clients that were rejected at the same instant do not all return at the same instant. */
const jitter = () => 0.75 + Math.random() / 2;

/** The request got no response: no network, or no server. */
export class Unreachable extends Error {
  /** @param {unknown} cause */
  constructor(cause) {
    super("The server cannot be reached.", { cause });
    this.name = "Unreachable";
  }
}

/**
 * fetch() with a deadline that distinguishes "no response" (Unreachable) from an abort by the caller.
 *
 * @param {URL | string} url
 * @param {RequestInit} [init]
 * @param {number} [deadlineMs]
 * @returns {Promise<Response>}
 */
export async function request(url, init = {}, deadlineMs = 30_000) {
  const late = AbortSignal.timeout(deadlineMs);
  try {
    return await fetch(url, { ...init, signal: init.signal ? AbortSignal.any([init.signal, late]) : late });
  } catch (cause) {
    if (init.signal?.aborted) throw init.signal.reason;
    throw new Unreachable(cause);
  }
}

/**
 * Seconds to wait according to `Retry-After` (RFC 9110, section 10.2.3: seconds or a date).
 *
 * @param {Response} response
 * @param {number} [otherwiseS]
 */
export function retryAfterS(response, otherwiseS = 2) {
  const value = response.headers.get("Retry-After");
  if (value === null) return otherwiseS;
  const seconds = /^\s*\d+\s*$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(1, seconds) : otherwiseS;
}

/**
 * Waits; ends early when the signal is aborted or the browser is online again. Never rejects.
 *
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    addEventListener("online", done);
  });
}
