// Wires the page together: job types and form, list, detail view, connection state, address.

import { explain, getJobTypes } from "./api.js";
import { Announcer } from "./announce.js";
import { DetailView } from "./detail.js";
import { byId, h, setHidden, setText, setTextOrHide } from "./dom.js";
import { JobForm } from "./form.js";
import { isTerminal } from "./format.js";
import { JobList } from "./list.js";
import { keepLive } from "./live.js";
import { JobStore } from "./store.js";

/** @typedef {import("./api.js").JobType} JobType */
/** @typedef {import("./watch-job.js").Job} Job */

/** @type {Map<string, JobType>} */
const types = new Map();
const titleOf = (/** @type {string} */ name) => types.get(name)?.title ?? name;
const nameOf = (/** @type {Job} */ job) => job.label || titleOf(job.type);

/** What the page knows of jobs; for the console and for tests. */
export const store = new JobStore();
const announcer = new Announcer();
const list = new JobList(store, titleOf, openRetried);
const detail = new DetailView(store, titleOf, openRetried);

store.subscribe((_id, job, before) => {
  if (job && before) announcer.job(job, before, nameOf(job));
});
// Not "#jobs-title": the address belongs to the views.
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  (openId() ? byId("detail-title") : byId("jobs-title")).focus();
});
addEventListener("hashchange", () => route(true));
setInterval(retitle, 1000);
route(false);
void loadTypes();
void list.loadPage();
keepFeed();

/** @param {Job} job */
function openRetried(job) {
  store.accept(job);
  location.hash = `#/jobs/${job.jobId}`;
}

/** The address decides what is shown, so reload, back and bookmarks work. @param {boolean} moved */
function route(moved) {
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

/** One stream while the page is in use; none while the browser keeps it frozen for "back". */
function keepFeed() {
  let stop = new AbortController();
  keepLive(store, showConnection, stop.signal);
  addEventListener("pagehide", () => {
    stop.abort();
    detail.close();
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    stop = new AbortController();
    keepLive(store, showConnection, stop.signal);
    route(false);
  });
}

/** @param {import("./stream.js").Connection} state @param {number} [everyS] */
function showConnection(state, everyS = 0) {
  const pill = byId("connection");
  const before = pill.dataset.state;
  const words = {
    connecting: "Connecting…",
    live: "Live",
    reconnecting: "Reconnecting…",
    polling: `Polling every ${Math.round(everyS)} s`,
    offline: "Offline, trying again",
  };
  pill.dataset.state = state;
  setText(byId("connection-word"), words[state]);
  if (state !== before && (state !== "live" || before !== "connecting")) {
    announcer.say({
      connecting: "",
      live: "Connection restored",
      reconnecting: "Connection lost, reconnecting",
      polling: "Live updates are not available, polling instead",
      offline: "Offline",
    }[state]);
  }
}

async function loadTypes() {
  try {
    for (const type of await getJobTypes()) types.set(type.name, type);
    drawTypes();
    list.redraw();
  } catch (problem) {
    setTextOrHide(byId("types-notice"), `The job types could not be read. ${explain(problem)}`);
    setTimeout(loadTypes, 5000);
  }
}

function drawTypes() {
  setTextOrHide(byId("types-notice"), types.size ? "" : "This server has no job types.");
  byId("types").replaceChildren(...[...types.values()].map(typeChoice));
  setHidden(byId("types-box"), types.size === 0);
  const first = [...types.values()].find((type) => type.available);
  if (!first) return;
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

/** Descriptions are docstrings, where names stand in backticks. @param {string} text */
const withCode = (text) =>
  text.split("`").map((part, index) => (index % 2 === 1 ? h("code", { class: "code" }, part) : part));

/** Forms are kept, so what was typed is still there after a look at another type. @type {Map<string, JobForm>} */
const forms = new Map();

/** @param {JobType} type */
function showForm(type) {
  let form = forms.get(type.name);
  if (!form) {
    form = new JobForm(type, (job) => store.accept(job));
    forms.set(type.name, form);
  }
  byId("form-place").replaceChildren(form.element);
}

/** The tab says how far things are while another one is in front. */
function retitle() {
  const id = openId();
  const job = id ? store.get(id) : null;
  const active = store.active().length;
  const progress = job && !isTerminal(job) && job.progress !== null ? `${Math.floor(job.progress)}% ` : "";
  const title = job ? `${progress}${nameOf(job)} · Headway` : active ? `(${active}) Headway` : "Headway";
  if (document.title !== title) document.title = title;
}
