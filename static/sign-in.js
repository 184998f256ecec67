// The sign-in form, shown instead of the app while a key is required and nobody is signed in.

import { explain } from "./api.js";
import { byId, setAttribute, setHidden, setText, setTextOrHide } from "./dom.js";
import { duration } from "./format.js";
import { Problem } from "./headway.js";
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
    // The page was loaded over plain HTTP from another machine, which browsers show in the address bar only.
    setHidden(byId("sign-in-plain"), isSecureContext);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.key.addEventListener("input", () => this.#showError(""));
  }

  /** @param {string} why  the reason, if a session has ended */
  show(why) {
    setTextOrHide(byId("sign-in-why"), why);
    if (!this.view.hidden) return;
    setHidden(this.view, false);
    this.focus();
  }

  hide() {
    setHidden(this.view, true);
    this.key.value = "";
    this.#showError("");
  }

  focus() {
    this.key.focus();
  }

  async #submit() {
    const key = this.key.value.trim();
    if (this.#busy) return;
    if (key === "") return this.#showError("Enter your key.");
    this.#setBusy(true);
    try {
      await signIn(key);
      // Password managers distinguish several keys by this name.
      this.username.value = session()?.name ?? "";
    } catch (problem) {
      this.#showFailure(problem);
    } finally {
      this.#setBusy(false);
    }
  }

  /** @param {unknown} problem */
  #showFailure(problem) {
    if (!(problem instanceof Problem)) return this.#showError("The server cannot be reached. Try again in a moment.");
    if (problem.status === 401) this.#showError("This key is not valid: it is unknown or has been revoked.");
    // The form stays usable: a valid key is accepted immediately, whatever others at this address have tried.
    else if (problem.status === 429) this.#showError(tooMany(problem.retryAfter));
    else this.#showError(explain(problem));
  }

  /** @param {string} error "" removes it */
  #showError(error) {
    setTextOrHide(this.error, error);
    setAttribute(this.key, "aria-invalid", error !== "" && "true");
    if (!error) return;
    this.key.focus();
    this.key.select();
  }

  /** @param {boolean} busy */
  #setBusy(busy) {
    this.#busy = busy;
    // Not `disabled`, so that the button just pressed keeps the focus.
    setAttribute(this.button, "aria-disabled", busy && "true");
    setText(this.button, busy ? "Signing in…" : "Sign in");
  }
}

/** @param {number | null} waitS */
function tooMany(waitS) {
  const until = waitS === null ? "later" : `in ${duration(Math.ceil(waitS))}`;
  return "This key is not valid, and there were too many failed attempts from your address. "
    + `Check it, or try again ${until}.`;
}
