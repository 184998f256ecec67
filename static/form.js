// The "start a job" form: fills in samples, validates, uploads with progress, and shows errors at their fields.

import { explain, submitJob } from "./api.js";
import { fillTransform } from "./bar.js";
import { h, setAttribute, setHidden, setText, setTextOrHide } from "./dom.js";
import { fieldsOf, fillAll, flatten, nameOf, readAll } from "./fields.js";
import { bytes } from "./format.js";
import { NoSample, sampleFile } from "./sample.js";
import { isRecord, resolve, sampleOf } from "./schema.js";
import { whyReadOnly } from "./session.js";
import { Problem, Unreachable } from "./headway.js";

/** @typedef {import("./api.js").JobType} JobType */
/** @typedef {import("./fields.js").Field} Field */
/** @typedef {import("./headway.js").JobState} Job */

/**
 * The options of any job beside its input, with the names that the API gives them.
 *
 * @type {import("./schema.js").Schema}
 */
const OPTIONS = {
  properties: {
    label: { type: "string", maxLength: 200, title: "Label", description: "A name by which you recognise this job." },
    webhookUrl: {
      type: "string", format: "uri", title: "Webhook URL",
      description: "Receives a signed request when the job starts and when it ends.",
    },
  },
};

export class JobForm {
  /** @type {AbortController | null} */
  #upload = null;
  /** The submission whose outcome is unknown, and its key: see #keyFor. */
  #unanswered = { request: "", key: "" };

  /**
   * @param {JobType} type
   * @param {(job: Job) => void} onSubmitted
   */
  constructor(type, onSubmitted) {
    this.type = type;
    this.onSubmitted = onSubmitted;
    const root = type.inputSchema;
    this.fields = fieldsOf(resolve(root, root).schema, root);
    this.options = fieldsOf(OPTIONS, OPTIONS);
    const [label, ...more] = this.options;
    this.summary = h("div", { class: "notice notice-error", role: "alert", hidden: true });
    this.note = h("p", { class: "notice", role: "status", hidden: true });
    this.submit = h("button", { type: "submit", class: "button primary" }, "Start job");
    this.readOnly = h("p", { class: "notice", id: "form-read-only", hidden: true });
    this.sample = h("button", { type: "button", class: "button" }, "Fill in a sample");
    this.uploadBar = new UploadBar(() => this.#upload?.abort());
    this.element = h("form", { class: "job-form", novalidate: true },
      ...this.fields.map((field) => field.element),
      label.element,
      h("details", { class: "more" }, h("summary", {}, "More options"), ...more.map((field) => field.element)),
      this.summary,
      this.uploadBar.element,
      this.readOnly,
      h("div", { class: "form-actions" }, this.submit, this.sample),
      this.note);
    this.#listen();
    this.update();
  }

  /** Updates what depends on the session's key. */
  update() {
    const why = whyReadOnly();
    setTextOrHide(this.readOnly, why);
    setAttribute(this.submit, "aria-describedby", why ? this.readOnly.id : null);
    setAttribute(this.submit, "aria-disabled", (why !== "" || this.#upload !== null) && "true");
  }

  #listen() {
    this.sample.addEventListener("click", () => void this.#fillSample());
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    // The field is being corrected: its error is removed, the others stay.
    this.element.addEventListener("input", ({ target }) => {
      this.#fieldOf(target)?.showError("");
    });
  }

  async #submit() {
    if (this.#upload || whyReadOnly()) return;
    this.#clearErrors();
    if (!this.#check()) return;
    const input = readAll(this.fields);
    const files = this.#files();
    const options = this.#readOptions();
    const identities = [...files].map(([name, file]) => [name, file.name, file.size, file.lastModified]);
    const key = this.#keyFor(JSON.stringify([options, input, identities]));
    this.#upload = new AbortController();
    this.#setBusy(true, files.size > 0);
    try {
      const job = await submitJob({ type: this.type.name, options, input, files, key },
        (sent, total) => this.uploadBar.show(sent, total), this.#upload.signal);
      this.#unanswered = { request: "", key: "" };
      this.#showSubmitted(job);
      this.onSubmitted(job);
    } catch (problem) {
      const cancelled = this.#upload.signal.aborted;
      if (!cancelled && !(problem instanceof Unreachable)) this.#unanswered = { request: "", key: "" };
      // Upload progress is reported with a delay: everything may have arrived, whatever the bar showed.
      const unsure = "The upload was cancelled. If it had already been received in full, its job is in the list.";
      if (cancelled) setTextOrHide(this.note, unsure);
      else this.#showProblem(problem);
    } finally {
      this.#upload = null;
      this.#setBusy(false, false);
    }
  }

  /**
   * A submission without a response, such as a cancelled one, may have been accepted. When it is repeated unchanged,
   * it has the same Idempotency-Key, so that it cannot become two jobs. Anything else is a new submission.
   *
   * @param {string} request
   */
  #keyFor(request) {
    if (this.#unanswered.request !== request) {
      // Not crypto.randomUUID(), which browsers do not offer to pages on plain HTTP.
      const random = crypto.getRandomValues(new Uint8Array(16));
      const key = [...random].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      this.#unanswered = { request, key };
    }
    return this.#unanswered.key;
  }

  #check() {
    const checked = this.#all().map((field) => ({ field, detail: field.check() }));
    const wrong = checked.filter(({ detail }) => detail);
    for (const { field, detail } of wrong) showAt(field, detail);
    wrong[0]?.field.focus();
    return wrong.length === 0;
  }

  /** Every field that is sent. The input's come first: they take precedence over options of the same name. */
  #all() {
    return flatten([...this.fields, ...this.options]);
  }

  #readOptions() {
    const given = Object.entries(readAll(this.options)).map(([name, value]) => [name, String(value).trim() || null]);
    return /** @type {Record<string, string | null>} */ (Object.fromEntries(given));
  }

  #files() {
    /** @type {Map<string, File>} */
    const files = new Map();
    for (const field of flatten(this.fields)) {
      const file = field.file?.input.files?.[0];
      if (file) files.set(nameOf(field), file);
    }
    return files;
  }

  /** @param {unknown} problem */
  #showProblem(problem) {
    const elsewhere = [];
    /** @type {Field | null} */
    let first = null;
    for (const error of problem instanceof Problem ? problem.errors : []) {
      const field = this.#fieldAt(error.pointer);
      if (!field) {
        elsewhere.push(error.pointer ? `${error.pointer}: ${error.detail}` : error.detail);
      } else {
        const within = inWords(error.pointer.slice(field.pointer.length));
        showAt(field, within ? `${within}: ${error.detail}` : error.detail);
        first ??= field;
      }
    }
    this.summary.replaceChildren(h("p", {}, summaryOf(problem, first !== null && elsewhere.length === 0)));
    if (elsewhere.length) this.summary.append(h("ul", {}, ...elsewhere.map((text) => h("li", {}, text))));
    setHidden(this.summary, false);
    first?.focus();
  }

  /** The innermost field that the pointer names or lies within. @param {string} pointer */
  #fieldAt(pointer) {
    const fits = this.#all().filter((field) => `${pointer}/`.startsWith(`${field.pointer}/`));
    return fits.sort((a, b) => b.pointer.length - a.pointer.length)[0] ?? null;
  }

  /** @param {EventTarget | null} control */
  #fieldOf(control) {
    return this.#all().findLast((field) => control instanceof Element && field.element.contains(control)) ?? null;
  }

  #clearErrors() {
    for (const field of this.#all()) field.showError("");
    setHidden(this.summary, true);
    setHidden(this.note, true);
  }

  async #fillSample() {
    this.#clearErrors();
    const values = sampleOf(this.type.inputSchema, this.type.inputSchema);
    if (isRecord(values)) fillAll(this.fields, values);
    this.sample.disabled = true;
    try {
      for (const field of flatten(this.fields)) if (field.file) await this.#fillFile(field);
    } finally {
      this.sample.disabled = false;
    }
  }

  /** @param {Field} field */
  async #fillFile(field) {
    if (!field.file || field.file.input.files?.length) return;
    try {
      const file = await sampleFile(field.file.mediaType, (doing) => setTextOrHide(this.note, doing));
      const transfer = new DataTransfer();
      transfer.items.add(file);
      field.file.input.files = transfer.files;
      setTextOrHide(this.note, `Ready: ${file.name}, ${bytes(file.size)}. Nothing is sent until you start the job.`);
    } catch (problem) {
      if (!(problem instanceof NoSample)) throw problem;
      setHidden(this.note, true);
      field.showError(problem.message);
    }
  }

  /** @param {boolean} busy @param {boolean} uploading */
  #setBusy(busy, uploading) {
    // Not `disabled`, so that the button just pressed keeps the focus.
    setAttribute(this.submit, "aria-disabled", busy && "true");
    if (!busy && this.uploadBar.element.contains(document.activeElement)) this.submit.focus();
    setText(this.submit, busy ? "Starting…" : "Start job");
    setHidden(this.uploadBar.element, !uploading);
    if (uploading) this.uploadBar.show(0, 0);
  }

  /** @param {Job} job */
  #showSubmitted(job) {
    const link = h("a", { href: `#/jobs/${job.jobId}` }, job.label || "View the job");
    this.note.replaceChildren("Started: ", link);
    setHidden(this.note, false);
  }
}

/** @param {Field} field @param {string} detail */
function showAt(field, detail) {
  field.showError(detail);
  const folded = field.element.closest("details");
  if (folded) folded.open = true;
}

/** @param {unknown} problem @param {boolean} shown  whether all errors are shown at fields */
function summaryOf(problem, shown) {
  if (shown) return "Not started: check the fields marked above.";
  if (problem instanceof Unreachable) {
    return "The server did not respond. Starting the job again unchanged is safe: it cannot run twice.";
  }
  return explain(problem);
}

/** @param {string} pointer within a field: "/0/name" → "item 1, name" */
const inWords = (pointer) =>
  pointer.split("/").slice(1).map((step) => (/^\d+$/.test(step) ? `item ${Number(step) + 1}` : step)).join(", ");

/** The progress of the upload; the job's own progress begins after it. */
class UploadBar {
  /** @param {() => void} onCancel */
  constructor(onCancel) {
    this.fill = h("div", { class: "bar-fill" });
    this.bar = h("div", {
      class: "bar", role: "progressbar", "aria-label": "Upload", "aria-valuemin": 0, "aria-valuemax": 100,
    }, this.fill);
    this.text = h("span", {});
    this.stop = h("button", { type: "button", class: "button small" }, "Cancel upload");
    this.stop.addEventListener("click", onCancel);
    const line = h("div", { class: "upload-line" }, this.text, this.stop);
    this.element = h("div", { class: "upload", hidden: true }, this.bar, line);
  }

  /** @param {number} sent @param {number} total bytes; 0 while unknown */
  show(sent, total) {
    const share = total > 0 ? sent / total : 0;
    this.fill.style.transform = fillTransform(share);
    this.bar.setAttribute("aria-valuenow", String(Math.floor(share * 100)));
    setText(this.text, total === 0 ? "Uploading…"
      : sent < total ? `Uploading: ${bytes(sent)} of ${bytes(total)}` : "Uploaded; the server is processing it…");
  }
}
