// The page of `headway dev`: shows why changed files cannot be loaded, and has changed job types read again.

import { at } from "./api.js";
import { h, setHidden, setText, setTextOrHide } from "./dom.js";
import { hasAccess } from "./session.js";

/** Not a stream: with each tab's other one, a few tabs would use up a browser's connections to the server. */
const LOOK_EVERY_MS = 1000;

/** @typedef {{version: number, failure: {reason: string, traceback: string} | null}} Reload */

const reason = h("p", { class: "dev-reason" });
const traceback = h("pre", { class: "dev-traceback", tabindex: "0", role: "region", "aria-label": "Traceback" });
const banner = h("section", { class: "dev-banner", id: "dev-banner", role: "alert", hidden: true },
  h("h2", { class: "dev-title" }, "The changed files cannot be loaded. The earlier code goes on."), reason, traceback);
document.querySelector("main")?.before(banner);

/** The version that is shown. */
let shown = 0;
void look();

async function look() {
  try {
    if (!document.hidden && hasAccess()) show(await read());
  } catch {
    // The server is not there: the page says so itself.
  }
  setTimeout(() => void look(), LOOK_EVERY_MS);
}

/** @returns {Promise<Reload>} */
async function read() {
  const response = await fetch(at("job-types/reload"), { cache: "no-store" });
  if (!response.ok) throw new Error(`The server answered ${response.status}`);
  return response.json();
}

/** @param {Reload} reload */
function show({ version, failure }) {
  if (version === shown) return;
  if (failure) {
    setText(reason, failure.reason);
    setTextOrHide(traceback, failure.traceback);
  } else {
    // At first, too: the page may have read the types before this version.
    dispatchEvent(new Event("headway:types-changed"));
  }
  setHidden(banner, failure === null);
  shown = version;
}
