// The view that stands in place of the app while a key is needed and nobody is signed in.

import { explain, Problem } from "./api.js";
import { byId, setAttribute, setHidden, setText, setTextOrHide } from "./dom.js";
import { duration } from "./format.js";
import { session, signIn } from "./session.js";

export class SignInView {
  #busy = false;

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
    if (this.#busy) return;
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
    if (!(problem instanceof Problem)) return this.#tell("The server cannot be reached. Try again in a moment.");
    if (problem.status === 401) this.#tell("This key is not valid: it is not known here, or it was revoked.");
    // The form stays open: a right key is let in at once, whatever others at this address have tried.
    else if (problem.status === 429) this.#tell(tooMany(problem.retryAfter));
    else this.#tell(explain(problem));
  }

  /** @param {string} error "" takes it away */
  #tell(error) {
    setTextOrHide(this.error, error);
    setAttribute(this.key, "aria-invalid", error !== "" && "true");
    if (!error) return;
    this.key.focus();
    this.key.select();
  }

  /** @param {boolean} busy */
  #setBusy(busy) {
    this.#busy = busy;
    // Not `disabled`: that would throw the keyboard's focus off the button just pressed.
    setAttribute(this.button, "aria-disabled", busy && "true");
    setText(this.button, busy ? "Signing in…" : "Sign in");
  }
}

/** @param {number | null} waitS */
function tooMany(waitS) {
  const until = waitS === null ? "later" : `in ${duration(Math.ceil(waitS))}`;
  return `This key is not valid, and too many wrong ones came from your address. Check it, or try again ${until}.`;
}
