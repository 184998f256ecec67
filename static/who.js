// The part of the header that shows who is signed in and signs out.

import { explain } from "./api.js";
import { byId, setAttribute, setHidden, setText, setTextOrHide } from "./dom.js";
import { signOut, whyReadOnly } from "./session.js";

export class Who {
  constructor() {
    this.place = byId("who");
    this.button = byId("sign-out");
    this.button.addEventListener("click", () => void this.#signOut());
  }

  /** @param {import("./session.js").Session | null} session */
  show(session) {
    setHidden(this.place, !session?.signedIn);
    if (!session?.signedIn) return;
    const { name, owner, admin, readOnly } = session;
    const text = name === owner ? `${name}` : `${name} (${owner})`;
    setText(byId("who-name"), text);
    setAttribute(byId("who-name"), "title", text);
    setTextOrHide(byId("who-role"), [admin && "admin", readOnly && "read-only"].filter(Boolean).join(", "));
    setText(byId("read-only-why"), whyReadOnly());
    setTextOrHide(byId("who-notice"), "");
  }

  async #signOut() {
    if (this.button.hasAttribute("aria-disabled")) return;
    setAttribute(this.button, "aria-disabled", "true");
    try {
      await signOut();
      // Reloading discards everything that the page holds; the address of the job it showed is dropped too.
      history.replaceState(null, "", location.pathname + location.search);
      location.reload();
    } catch (problem) {
      setTextOrHide(byId("who-notice"), `Still signed in. ${explain(problem)}`);
      setAttribute(this.button, "aria-disabled", null);
    }
  }
}
