// The view that stands in place of the app while a key is needed and nobody is signed in.

import { explain, Problem } from "./api.js";
import { byId, setAttribute, setHidden, setText, setTextOrHide } from "./dom.js";
import { duration } from "./format.js";
import { session, signIn } from "./session.js";

export class SignInView {
  #busy = false;
  /** Until then the server would not look at a key. */
  #waitUntilMs = 0;

  constructor() {
    this.view = byId("sign-in");
    this.form = /** @type {HTMLFormElement} */ (byId("sign-in-form"));
    this.username = /** @type {HTMLInputElement} */ (byId("sign-in-username"));
    this.key = /** @type {HTMLInputElement} */ (byId("sign-in-key"));
    this.error = byId("sign-in-error");
    this.button = byId("sign-in-button");
    // A page of plain http from elsewhere: a browser says so of its own accord only in the address bar.
    setHidden(byId("sign-in-plain"), isSecureContext);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.key.addEventListener("input", () => this.#tell(""));
  }

  /** @param {string} why  what happened, for those who had been signed in */
  show(why) {
    setTextOrHide(byId("sign-in-why"), why);
    if (!this.view.hidden) return;
    setHidden(this.view, false);
    this.focus();
  }

  hide() {
    setHidden(this.view, true);
    this.key.value = "";
    this.#tell("");
  }

  focus() {
    this.key.focus();
  }

  async #submit() {
    const key = this.key.value.trim();
    if (this.#busy || performance.now() < this.#waitUntilMs) return;
    if (key === "") return this.#tell("Enter your key.");
    this.#setBusy(true);
    try {
      await signIn(key);
      // By this a password manager tells several keys apart.
      this.username.value = session()?.name ?? "";
    } catch (problem) {
      this.#tellFailure(problem);
    } finally {
      this.#setBusy(false);
    }
  }

  /** @param {unknown} problem */
  #tellFailure(problem) {
    const status = problem instanceof Problem ? problem.status : 0;
    if (status === 401) this.#tell("This key is not valid: it is not known here, or it was revoked.");
    else if (status === 429) this.#wait(/** @type {Problem} */ (problem).retryAfter ?? 60);
    else this.#tell(status === 0 ? "The server cannot be reached. Try again in a moment." : explain(problem));
  }

  /** @param {string} error "" takes it away */
  #tell(error) {
    setTextOrHide(this.error, error);
    setAttribute(this.key, "aria-invalid", error !== "" && "true");
    if (!error) return;
    this.key.focus();
    this.key.select();
  }

  /** Said once, when it begins; the button counts down for the eye. @param {number} seconds */
  #wait(seconds) {
    this.#tell(`Too many wrong keys came from your address. Try again in ${duration(Math.ceil(seconds))}.`);
    this.#waitUntilMs = performance.now() + seconds * 1000;
    const timer = setInterval(() => {
      this.#label();
      if (performance.now() < this.#waitUntilMs) return;
      clearInterval(timer);
      this.#tell("");
    }, 250);
  }

  /** @param {boolean} busy */
  #setBusy(busy) {
    this.#busy = busy;
    this.#label();
  }

  #label() {
    const waitS = Math.ceil((this.#waitUntilMs - performance.now()) / 1000);
    // Not `disabled`: that would throw the keyboard's focus off the button just pressed.
    setAttribute(this.button, "aria-disabled", (this.#busy || waitS > 0) && "true");
    setText(this.button, this.#busy ? "Signing in…" : waitS > 0 ? `Sign in (${duration(waitS)})` : "Sign in");
  }
}
