// Connects the parts of the page: job types and form, list, detail view, connection state, address.

import { explain, getJobTypes } from "./api.js";
import { Announcer } from "./announce.js";
import { DetailView } from "./detail.js";
import { byId, h, setHidden, setText, setTextOrHide } from "./dom.js";
import { JobForm } from "./form.js";
import { isTerminal, jobName, steady } from "./format.js";
import { JobList } from "./list.js";
import { keepLive } from "./live.js";
import { askSession, hasAccess, onSession, session } from "./session.js";
import { SignInView } from "./sign-in.js";
import { JobStore } from "./store.js";
import { Unreachable } from "./headway.js";
import { UsageLine } from "./usage.js";
import { Who } from "./who.js";

/** @typedef {import("./api.js").JobType} JobType */
/** @typedef {import("./headway.js").JobState} Job */

/** @type {Map<string, JobType>} */
const types = new Map();
const titleOf = (/** @type {string} */ name) => types.get(name)?.title ?? name;
const nameOf = (/** @type {Job} */ job) => jobName(job, titleOf(job.type));

/** The jobs that the page holds. Exported for the console and for tests. */
export const store = new JobStore();
const announcer = new Announcer();
const list = new JobList(store, titleOf, openRetried);
const detail = new DetailView(store, titleOf, openRetried, (news) => announcer.announce(news));
const signInView = new SignInView();
const who = new Who();
const usage = new UsageLine(store);
/** Aborted when the page is left, kept for "back", or locked: then no stream is open. */
let stop = new AbortController();
stop.abort();
/** The identity that the page has been shown to, if any. @type {string | null} */
let shownTo = null;
/** The element that had the focus when the session ended. @type {Element | null} */
let focused = null;

store.subscribe((_id, job, before) => {
  if (job && before) announcer.job(job, before, nameOf(job));
});
// The link cannot be "#jobs-title", because the fragment selects the view.
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  if (!hasAccess()) signInView.focus();
  else (openId() ? byId("detail-title") : byId("jobs-title")).focus();
});
addEventListener("hashchange", () => route(true));
addEventListener("headway:types-changed", () => hasAccess() && void loadTypes()); // see dev.js
addEventListener("pagehide", leave);
addEventListener("pageshow", (event) => event.persisted && void askSession());
// All tabs share one session: another tab may have signed out, or signed in with another key.
addEventListener("focus", () => session()?.keyNeeded && void askSession());
setInterval(retitle, 1000);
onSession(() => (hasAccess() ? enter() : lock()));
void askSession((problem) => showConnection(problem instanceof Unreachable ? "offline" : "reconnecting"));

/** Starts the app: a user has signed in, or no key is required. */
function enter() {
  const now = session();
  const identity = `${now?.owner} ${now?.admin}`;
  // Nothing is kept of what another user saw or typed.
  if (shownTo !== null && shownTo !== identity) return location.reload();
  const again = shownTo !== null;
  shownTo = identity;
  who.show(now);
  for (const form of forms.values()) form.update();
  list.redraw();
  if (!stop.signal.aborted) return;
  const wasLocked = !byId("sign-in").hidden;
  signInView.hide();
  setHidden(byId("connection"), false);
  stop = new AbortController();
  keepLive(store, showConnection, stop.signal, again);
  route(false);
  void list.loadNewest();
  usage.show(stop.signal);
  if (types.size === 0) void loadTypes();
  if (wasLocked) giveFocusBack();
}

/** Closes the streams; what is shown and typed stays. */
function leave() {
  stop.abort();
  detail.close();
}

/** Shows the sign-in form: a key is required, or required again. */
function lock() {
  const again = shownTo !== null;
  if (!stop.signal.aborted) focused = document.activeElement;
  leave();
  for (const id of ["home", "detail", "connection"]) setHidden(byId(id), true);
  who.show(null);
  signInView.show(again ? "Your session has ended. Sign in again to continue: what you typed is still there." : "");
  retitle();
}

function giveFocusBack() {
  if (focused instanceof HTMLElement && focused.checkVisibility()) focused.focus();
  else (openId() ? byId("detail-title") : byId("start-title")).focus({ preventScroll: true });
  announcer.announce("Signed in");
}

/** @param {Job} job */
function openRetried(job) {
  store.accept(job);
  location.hash = `#/jobs/${job.jobId}`;
}

/** Shows the view that the address selects, so that reload, back and bookmarks work. @param {boolean} moved */
function route(moved) {
  if (stop.signal.aborted) return;
  const id = openId();
  const leftId = byId("detail").dataset.job ?? "";
  byId("detail").dataset.job = id;
  setHidden(byId("home"), id !== "");
  setHidden(byId("detail"), id === "");
  if (id) {
    detail.open(id);
    if (moved) byId("detail-title").focus({ preventScroll: true });
    if (moved) scrollTo(0, 0);
  } else {
    detail.close();
    if (moved && !list.focus(leftId)) byId("jobs-title").focus();
  }
  retitle();
}

function openId() {
  const match = /^#\/jobs\/(.+)$/.exec(location.hash);
  try {
    return match ? decodeURIComponent(match[1]) : "";
  } catch {
    return match?.[1] ?? "";
  }
}

/** @param {import("./headway.js").Connection} state @param {number} [everyS] */
function showConnection(state, everyS = 0) {
  const pill = byId("connection");
  const before = pill.dataset.state;
  const words = {
    connecting: "Connecting…",
    live: "Live",
    reconnecting: "Reconnecting…",
    polling: `Polling every ${Math.round(everyS)} s`,
    offline: "Offline, retrying",
  };
  pill.dataset.state = state;
  setText(byId("connection-word"), words[state]);
  if (state !== before && (state !== "live" || before !== "connecting")) {
    announcer.announce({
      connecting: "",
      live: "Connection restored",
      reconnecting: "Connection lost, reconnecting",
      polling: "Live updates are unavailable, polling instead",
      offline: "Offline",
    }[state]);
  }
}

/** Reads the types, again if they have changed. The forms of those that are as before stay, with what was typed. */
async function loadTypes() {
  try {
    const read = await getJobTypes();
    for (const type of read) {
      if (JSON.stringify(type) !== JSON.stringify(types.get(type.name))) forms.delete(type.name);
    }
    types.clear();
    for (const type of read) types.set(type.name, type);
    drawTypes();
    list.redraw();
  } catch (problem) {
    setTextOrHide(byId("types-notice"), `The job types could not be loaded. ${explain(problem)}`);
    setTimeout(() => hasAccess() && types.size === 0 && void loadTypes(), 5000);
  }
}

function drawTypes() {
  setTextOrHide(byId("types-notice"), types.size ? "" : "This server has no job types.");
  byId("types").replaceChildren(...[...types.values()].map(typeChoice));
  setHidden(byId("types-box"), types.size === 0);
  const available = [...types.values()].filter((type) => type.available);
  const first = available.find((type) => type.name === chosen) ?? available[0];
  if (!first) return byId("form-place").replaceChildren();
  const radios = /** @type {NodeListOf<HTMLInputElement>} */ (document.getElementsByName("job-type"));
  for (const radio of radios) radio.checked = radio.value === first.name;
  showForm(first);
}

/** @param {JobType} type */
function typeChoice(type) {
  const radio = h("input", { type: "radio", name: "job-type", value: type.name, disabled: !type.available });
  radio.addEventListener("change", () => showForm(type));
  const reason = type.unavailableReason ?? "no reason given";
  return h("label", { class: "type", "data-type": type.name }, radio, h("span", { class: "type-text" },
    h("span", { class: "type-title" }, type.title ?? type.name),
    type.description ? h("span", { class: "type-about" }, ...withCode(type.description)) : null,
    type.available ? null : h("span", { class: "type-reason" }, `Not available: ${reason}`)));
}

/** Descriptions are docstrings, which mark names with backticks. @param {string} text */
const withCode = (text) =>
  text.split("`").map((part, index) => (index % 2 === 1 ? h("code", { class: "code" }, part) : part));

/** Forms are kept, so that what was typed is still there after switching types. @type {Map<string, JobForm>} */
const forms = new Map();
/** The name of the type whose form is shown. */
let chosen = "";

/** @param {JobType} type */
function showForm(type) {
  chosen = type.name;
  let form = forms.get(type.name);
  if (!form) {
    form = new JobForm(type, (job) => store.accept(job));
    forms.set(type.name, form);
  }
  byId("form-place").replaceChildren(form.element);
}

/** Shows progress in the title, which is visible while another tab is in front. */
function retitle() {
  const id = openId();
  const job = id ? store.get(id) : null;
  const active = store.active().length;
  const progress = job && !isTerminal(job) && job.progress !== null ? `${Math.floor(job.progress)}% ` : "";
  const shown = job ? `${progress}${steady(nameOf(job))} · Headway` : active ? `(${active}) Headway` : "Headway";
  const title = session() && !hasAccess() ? "Sign in · Headway" : shown;
  if (document.title !== title) document.title = title;
}
