// Who is signed in: asked at the start, changed by signing in and out, and noticed when it ends meanwhile.

import { at, Problem, send, whenRefused } from "./api.js";
import { pause } from "./stream.js";

/**
 * What `GET /session` tells.
 *
 * @typedef {object} Session
 * @property {boolean} keyNeeded
 * @property {boolean} signedIn
 * @property {string | null} name   the key's
 * @property {string | null} owner
 * @property {boolean} admin
 * @property {boolean} readOnly
 */

/** Pauses between questions while the server does not say who is signed in. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 10_000;

const never = new AbortController().signal;
/** @type {Session | null} */
let held = null;
/** @type {Set<() => void>} */
const listeners = new Set();
let asking = false;

/** What is known now; null until the server has said it. */
export const session = () => held;

/** Whether there is anything to see: somebody is signed in, or nobody needs to be. */
export const mayLook = () => held !== null && (held.signedIn || !held.keyNeeded);

/** Why what would change something does nothing; "" where it may. */
export const whyReadOnly = () =>
  held?.readOnly ? "You are signed in with a read-only key: it can look, but start and change nothing." : "";

/** @param {() => void} listener called whenever the server has said who is signed in */
export const onSession = (listener) => listeners.add(listener);

/**
 * Asks until there is an answer.
 *
 * @param {(problem: unknown) => void} [onFailure] each time that there was none
 */
export async function askSession(onFailure = () => {}) {
  if (asking) return;
  asking = true;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      const before = held;
      const { body } = await send("GET", at("session"));
      // Who signed in while this was under way is not signed out by what was true before.
      if (held === before) take(body);
      break;
    } catch (problem) {
      onFailure(problem);
      await pause(pauseMs, never);
    }
  }
  asking = false;
}

/** @param {string} key @throws {Problem | import("./stream.js").Unreachable} 401: there is no such key */
export async function signIn(key) {
  take((await send("POST", at("session"), { json: { key } })).body);
}

/** Ends the session on the server. What this page holds of it, the caller must throw away. */
export async function signOut() {
  try {
    await send("DELETE", at("session"));
  } catch (problem) {
    // It had ended before.
    if (!(problem instanceof Problem && problem.status === 401)) throw problem;
  }
}

/** @param {Session} said */
function take(said) {
  held = said;
  for (const listener of listeners) listener();
}

// A 401 may also be the late answer to a question of the session before: only the server knows.
whenRefused(() => void askSession());
