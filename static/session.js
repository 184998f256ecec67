// The session: requested at the start, changed by signing in and out, and checked when a request fails with 401.

import { send, whenUnauthorized } from "./api.js";
import { pause, Problem } from "./headway.js";

/**
 * The response of `GET /session`.
 *
 * @typedef {object} Session
 * @property {boolean} keyNeeded
 * @property {boolean} signedIn
 * @property {string | null} name   the key's
 * @property {string | null} owner
 * @property {boolean} admin
 * @property {boolean} readOnly
 */

/** Pauses between requests while the server does not answer. */
const FIRST_PAUSE_S = 1;
const LONGEST_PAUSE_S = 10;

/** @type {Session | null} */
let held = null;
/** @type {Set<() => void>} */
const listeners = new Set();
let asking = false;

/** The current session; null until the server has answered. */
export const session = () => held;

/** Whether the page may show jobs: a user is signed in, or no key is required. */
export const hasAccess = () => held !== null && (held.signedIn || !held.keyNeeded);

/** Why this session cannot change anything; "" if it can. */
export const whyReadOnly = () =>
  held?.readOnly ? "You are signed in with a read-only key: you can view jobs, but not start or change them." : "";

/** @param {() => void} listener called whenever the server has sent the session */
export const onSession = (listener) => listeners.add(listener);

/**
 * Requests the session until the server answers.
 *
 * @param {(problem: unknown) => void} [onFailure] called after each failed request
 */
export async function askSession(onFailure = () => {}) {
  if (asking) return;
  asking = true;
  for (let pauseS = FIRST_PAUSE_S; ; pauseS = Math.min(pauseS * 2, LONGEST_PAUSE_S)) {
    try {
      const before = held;
      const { body } = await send("GET", "session");
      // A response from before a sign-in that happened meanwhile is ignored.
      if (held === before) take(body);
      break;
    } catch (problem) {
      onFailure(problem);
      await pause(pauseS);
    }
  }
  asking = false;
}

/** @param {string} key @throws {Problem | import("./headway.js").Unreachable} 401: the key is not valid */
export async function signIn(key) {
  take((await send("POST", "session", { json: { key } })).body);
}

/** Ends the session on the server. The caller must discard what the page holds. */
export async function signOut() {
  try {
    await send("DELETE", "session");
  } catch (problem) {
    // The session had already ended.
    if (!(problem instanceof Problem && problem.status === 401)) throw problem;
  }
}

/** @param {Session} received */
function take(received) {
  held = received;
  for (const listener of listeners) listener();
}

// A 401 may also be a late response to a request of an earlier session: only the server knows.
whenUnauthorized(() => void askSession());
