// One event stream, and polling in its place for as long as the stream cannot be had.

/** @typedef {"connecting" | "live" | "reconnecting" | "polling" | "offline"} Connection */
/**
 * @typedef {object} StreamOptions
 * @property {() => URL | string} url      asked anew for every connection, so it can carry a cursor
 * @property {string[]} [events]           named events to listen to, beside the unnamed ones
 * @property {() => void} [onOpen]         connected, also after EventSource's own reconnects
 * @property {(name: string, event: MessageEvent<string>) => void} onEvent
 * @property {(signal: AbortSignal) => Promise<number>} poll
 *   fetches what the stream would have told; resolves with the seconds until the next poll, or 0 if what
 *   refused the stream has been mended and it can be tried again at once; throws when the server cannot be reached
 * @property {(state: Connection, everyS?: number) => void} [onConnection]
 */

/** EventSource retries without end; after this many failures in a row polling takes over. */
const FAILURES_BEFORE_POLLING = 3;
/** A stream that neither opens nor fails: the browser's connections to this host are all taken. */
const OPEN_DEADLINE_MS = 10_000;
/** After this long without an event the server is asked whether it is still there. */
const SILENCE_MS = 45_000;
/** Pauses between tries of a refused stream. */
const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 60_000;
/** Pauses between polls while the server cannot be reached. */
const LONGEST_OUTAGE_PAUSE_S = 10;

/**
 * Keeps a stream open until the signal fires. EventSource reconnects by itself after a broken or
 * ended connection, but gives up for good on any status but 200 (WHATWG HTML, "server-sent events"):
 * then, or when the server stays away, this polls and tries the stream again from time to time.
 *
 * @param {StreamOptions} options
 * @param {AbortSignal} signal
 */
export function keepStream(options, signal) {
  if (!signal.aborted) new Stream(options, signal).open();
}

class Stream {
  #failures = 0;
  #triesSinceOpen = 0;
  #heardMs = performance.now();
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
      if (performance.now() - this.#heardMs > SILENCE_MS) probe();
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
    const hear = (/** @type {MessageEvent} */ event) => {
      // A handler may have ended this in the same burst of events; late ones are nobody's business.
      if (this.#source !== source) return;
      this.#heardMs = performance.now();
      this.options.onEvent(event.type, event);
    };
    for (const name of ["message", ...(this.options.events ?? [])]) source.addEventListener(name, hear);
  }

  #opened() {
    clearTimeout(this.#deadline);
    this.#failures = 0;
    this.#triesSinceOpen = 0;
    this.#heardMs = performance.now();
    this.options.onOpen?.();
    this.#say("live");
  }

  /** @param {EventSource} source */
  #failed(source) {
    if (source.readyState === EventSource.CLOSED) return this.#giveUp(true);
    this.#failures += 1;
    if (this.#failures >= FAILURES_BEFORE_POLLING) return this.#giveUp(false);
    // While polling works, a failed try of the stream is not worth alarming anybody.
    if (this.#connection !== "polling") this.#say(navigator.onLine ? "reconnecting" : "offline");
  }

  /** @param {boolean} refused  false: the server could not be reached at all */
  #giveUp(refused) {
    this.#close();
    const patienceMs = Math.min(FIRST_RETRY_MS * 2 ** this.#triesSinceOpen, LONGEST_RETRY_MS) * spread();
    // A server that was away is asked for a stream as soon as it answers again, but only once so.
    const waitMs = refused || this.#triesSinceOpen > 0 ? patienceMs : 0;
    this.#triesSinceOpen += 1;
    void this.#pollUntil(performance.now() + waitMs);
  }

  /** @param {number} retryAtMs when a successful poll leads back to the stream */
  async #pollUntil(retryAtMs) {
    let outagePauseS = 1;
    while (!this.signal.aborted) {
      let pauseS;
      try {
        pauseS = await this.options.poll(this.signal);
        if (this.signal.aborted) return;
        outagePauseS = 1;
        if (pauseS === 0 || performance.now() >= retryAtMs) return this.open();
        this.#say("polling", pauseS);
      } catch (problem) {
        if (this.signal.aborted) return;
        if (!(problem instanceof Unreachable)) console.warn("Polling failed:", problem);
        pauseS = outagePauseS;
        outagePauseS = Math.min(outagePauseS * 2, LONGEST_OUTAGE_PAUSE_S);
        this.#say("offline");
      }
      await pause(pauseS * 1000, this.signal);
    }
  }

  /**
   * The network came or went, or nothing was heard for long. A connection that was cut without a word
   * may look open for minutes, and a quiet one is no different (its comments are hidden from scripts);
   * while a server on this machine does not mind that the network is gone. So ask.
   */
  async #probe() {
    const source = this.#source;
    if (source?.readyState !== EventSource.OPEN) return;
    this.#heardMs = performance.now();
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
  #say(state, everyS) {
    this.#connection = state;
    this.options.onConnection?.(state, everyS);
  }
}

/** Those who were refused in one instant do not come back in one. */
const spread = () => 0.75 + Math.random() / 2;

/** The request got no answer: no network, or no server. */
export class Unreachable extends Error {
  /** @param {unknown} cause */
  constructor(cause) {
    super("The server cannot be reached.", { cause });
    this.name = "Unreachable";
  }
}

/**
 * fetch(), with a deadline, that tells "no answer" (Unreachable) apart from an abort by the caller.
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
 * Waits; ends early when the signal fires or the browser is online again. Never rejects.
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
