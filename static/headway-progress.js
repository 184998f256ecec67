// <headway-progress job="/jobs/…">: a job's progress bar. headway-progress.d.ts says what it takes and what it tells.

import { Client } from "./headway.js";

const WORDS = {
  queued: "○ Queued", running: "▸ Running", stopping: "■ Stopping",
  completed: "✓ Completed", failed: "✕ Failed", cancelled: "– Cancelled",
};
const ENDED = ["completed", "failed", "cancelled"];
const LOST = { reconnecting: "Reconnecting…", offline: "Offline, retrying…" };

const STYLE = `
:host { display: block; --fill: var(--headway-running, light-dark(#2457d6, #86a9ff)); }
:host([hidden]) { display: none; }
:host(:state(completed)) { --fill: var(--headway-completed, light-dark(#14713b, #6bd194)); }
:host(:state(failed)) { --fill: var(--headway-failed, light-dark(#b3261e, #ff9a92)); }
:host(:state(stopping)) { --fill: var(--headway-stopping, light-dark(#865300, #f2bd65)); }
:host(:state(queued)), :host(:state(cancelled)) { --fill: var(--headway-idle, light-dark(#667386, #8190a5)); }
[part="bar"] {
  height: var(--headway-height, 8px); border-radius: 99px; overflow: hidden;
  background: var(--headway-track, light-dark(#dfe5ee, #2b3645));
}
[part="bar"]:focus-visible { outline: 2px solid var(--fill); outline-offset: 2px; }
[part="fill"] {
  height: 100%; border-radius: inherit; background: var(--fill);
  transform: translateX(-100%); transition: transform 120ms linear;
}
:host(:state(indeterminate)) [part="fill"] { width: 35%; animation: seek 1.6s ease-in-out infinite alternate; }
@keyframes seek { from { transform: translateX(0); } to { transform: translateX(186%); } }
[part="text"] { display: flex; flex-wrap: wrap; gap: 0 0.75em; margin-top: 0.25em; overflow-wrap: anywhere; }
[part="text"] :empty { display: none; }
[part="percent"] { font-variant-numeric: tabular-nums; }
[part="news"] { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (prefers-reduced-motion: reduce) {
  [part="fill"] { transition: none; }
  :host(:state(indeterminate)) [part="fill"] {
    width: auto; transform: none; animation: none; border-radius: 0;
    background: repeating-linear-gradient(-45deg, var(--fill) 0 6px, transparent 6px 12px);
  }
}
@media (forced-colors: active) {
  [part="bar"] { border: 1px solid CanvasText; }
  [part="fill"] { background: Highlight; forced-color-adjust: none; }
}`;

/** For servers that need no key, or whose session the page has: elements of the same server share connections. */
const clients = {};
let sheet;

/** Sets only what changes: an unchanged node costs no layout, and is not announced. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

export class HeadwayProgress extends (globalThis.HTMLElement ?? class {}) {
  static formAssociated = true;
  static observedAttributes = ["job", "label", "quiet", "required"];

  #internals = this.attachInternals();
  #parts = {};
  #state = null;
  #connection = "";
  #problem = null;
  #stop = null;
  #submitting = false;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open", delegatesFocus: true });
    if (!sheet) (sheet = new CSSStyleSheet()).replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    const add = (parent, part, tag = "span") => {
      const node = (this.#parts[part] = document.createElement(tag));
      node.setAttribute("part", part);
      parent.append(node);
      return node;
    };
    root.append(document.createElement("slot"));
    const bar = add(root, "bar", "div");
    const attributes = { role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, tabindex: -1 };
    for (const [name, value] of Object.entries(attributes)) bar.setAttribute(name, value);
    add(bar, "fill", "div");
    const text = add(root, "text", "div");
    for (const part of ["status", "percent", "message"]) add(text, part);
    add(root, "news");
    this.addEventListener("submit", (event) => void this.#submit(event));
    // What was set before the element was defined hides the accessor.
    const { state } = this;
    if (delete this.state && state) this.state = state;
    this.#render();
  }

  connectedCallback() {
    this.#follow();
  }

  /** An element that is only moved goes on. */
  disconnectedCallback() {
    queueMicrotask(() => this.isConnected || this.#leave());
  }

  attributeChangedCallback(name, before, now) {
    if (name === "job" && before !== now) {
      this.#leave();
      this.#state = this.#problem = null;
      if (this.isConnected) this.#follow();
    }
    this.#render();
  }

  get job() {
    return this.getAttribute("job");
  }

  set job(url) {
    if (url) this.setAttribute("job", url);
    else this.removeAttribute("job");
  }

  get state() {
    return this.#state;
  }

  set state(state) {
    const before = this.#state?.status;
    this.#state = state;
    this.#problem = null;
    this.#render();
    if (!state) return;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
    if (before === state.status || !ENDED.includes(state.status)) return;
    this.#announce(`${this.#name()} ${state.status}`);
    this.dispatchEvent(new CustomEvent("end", { detail: state }));
  }

  get problem() {
    return this.#problem;
  }

  get value() {
    return this.#state?.jobId ?? "";
  }

  get form() {
    return this.#internals.form;
  }

  get validity() {
    return this.#internals.validity;
  }

  get validationMessage() {
    return this.#internals.validationMessage;
  }

  checkValidity() {
    return this.#internals.checkValidity();
  }

  reportValidity() {
    return this.#internals.reportValidity();
  }

  /** In a microtask, so that properties that are set in the same step count. */
  #follow() {
    queueMicrotask(async () => {
      if (!this.isConnected || !this.job || this.#stop || ENDED.includes(this.#state?.status)) return;
      const { signal } = (this.#stop = new AbortController());
      try {
        const job = this.#client(this.job).job(this.job, { getTicket: this.getTicket });
        const onConnection = (connection) => {
          this.#connection = connection;
          this.#render();
        };
        for await (const state of job.states({ signal, onConnection })) this.state = state;
      } catch (error) {
        if (!signal.aborted) this.#fail(error);
      }
      if (signal.aborted) return;
      this.#leave();
      this.#render();
    });
  }

  #leave() {
    this.#stop?.abort();
    this.#stop = null;
    this.#connection = "";
  }

  #client(url) {
    const [root = "/"] = /^[^?#]*\/(?=jobs\/)/.exec(new URL(url, document.baseURI)) ?? [];
    return this.client ?? (clients[root] ??= new Client(root));
  }

  async #submit(event) {
    event.preventDefault();
    if (this.#submitting) return;
    this.#submitting = true;
    const form = event.target;
    this.#problem = null;
    this.#render();
    try {
      const [, type] = /jobs\/([^/?#]+)/.exec(form.action);
      const { input, files } = fieldsOf(form);
      const job = await this.#client(form.action).submit(decodeURIComponent(type), input, { files });
      this.job = new URL(job.path, job.client.base).href;
    } catch (error) {
      this.#fail(error);
      for (const { pointer, detail } of error.errors ?? []) showAt(form.elements[pointer.slice(1)], detail);
    }
    this.#submitting = false;
  }

  #fail(error) {
    this.#problem = error;
    this.#render();
    this.#announce(error.message);
    this.dispatchEvent(new CustomEvent("problem", { detail: error }));
  }

  /** At the end alone: who wants to know more reads the bar. */
  #announce(news) {
    setText(this.#parts.news, this.hasAttribute("quiet") ? "" : news);
  }

  #name() {
    // There are no labels while the element is being made.
    const labels = this.#internals.labels ?? [];
    const label = this.getAttribute("label") ?? [...labels].map((each) => each.textContent).join(" ");
    return label || this.#state?.label || this.#state?.type || "Job";
  }

  #render() {
    const state = this.#state;
    const { bar, fill, status, percent, message, news } = this.#parts;
    const ended = ENDED.includes(state?.status);
    const key = state && (state.cancelRequested && !ended ? "stopping" : state.status);
    const progress = state?.progress ?? null;
    const indeterminate = progress === null && state?.status === "running";
    const lost = LOST[this.#connection];
    this.#setStates({ [key]: key, indeterminate, lost, problem: this.#problem });
    setAttribute(bar, "aria-label", this.#name());
    setAttribute(bar, "aria-valuenow", progress === null ? null : String(progress));
    const word = WORDS[key]?.slice(2) ?? "";
    setAttribute(bar, "aria-valuetext", progress === null || key !== "running" ? word : `${progress}%`);
    const transform = indeterminate ? "" : `translateX(${(progress ?? 0) - 100}%)`;
    if (fill.style.transform !== transform) fill.style.transform = transform;
    setAttribute(news, "role", this.hasAttribute("quiet") ? null : "status");
    setText(status, WORDS[key] ?? (this.job && !this.#problem && !lost ? "Connecting…" : ""));
    setText(percent, progress === null ? "" : `${Math.floor(progress)}%`);
    const says = key === "failed" ? state.error?.title : state?.message ?? state?.step;
    setText(message, this.#problem?.message ?? lost ?? says ?? "");
    this.#validate(state?.status);
  }

  #setStates(states) {
    for (const [name, on] of Object.entries(states)) if (on) this.#internals.states.add(name);
    for (const name of [...this.#internals.states]) if (!states[name]) this.#internals.states.delete(name);
  }

  #validate(status) {
    const flags = {};
    if (this.hasAttribute("required") && status !== "completed") {
      flags[ENDED.includes(status) ? "customError" : "valueMissing"] = true;
    }
    const why = flags.customError ? `The job has ${status === "failed" ? "failed" : "been cancelled"}.`
      : "Wait until the job has completed.";
    this.#internals.setValidity(flags, why, this.#parts.bar);
    this.#internals.setFormValue(this.value || null);
  }
}

/** A job's input and files from the controls of a form. Empty ones are left out. */
function fieldsOf(form) {
  const [input, files] = [{}, {}];
  for (const { name, type, value, checked, disabled, files: chosen, valueAsNumber } of form.elements) {
    if (!name || disabled || /^(submit|button|reset|image|fieldset)$/.test(type)) continue;
    if (type === "checkbox") input[name] = checked;
    else if (type === "file") Object.assign(files, chosen.length ? { [name]: chosen[0] } : {});
    else if (value && (type !== "radio" || checked)) input[name] = /^(number|range)$/.test(type) ? valueAsNumber : value;
  }
  return { input, files };
}

/** Until the field is changed. */
function showAt(field, detail) {
  if (!field?.setCustomValidity) return;
  field.setCustomValidity(detail);
  field.addEventListener("input", () => field.setCustomValidity(""), { once: true });
  field.reportValidity();
}

// The module may be loaded from two addresses.
if (globalThis.customElements && !customElements.get("headway-progress")) {
  customElements.define("headway-progress", HeadwayProgress);
}
