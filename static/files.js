// The output files of a job: the first hundred are part of the job, the others are fetched page by page.

import { explain, fileUrl, getFiles } from "./api.js";
import { byId, h, setHidden, setTextOrHide } from "./dom.js";
import { bytes, count } from "./format.js";
import { Problem, Unreachable } from "./headway.js";

/** @typedef {import("./headway.js").JobState} Job */
/** @typedef {import("./headway.js").OutputFile} OutputFile */

/** Types of files that are safe to view in a sandboxed tab. */
const VIEWABLE = /^(text\/|image\/|application\/json\b)/;

export class FilesView {
  #id = "";
  #drawn = "";
  #shown = 0;
  #total = 0;
  /** The name of the last file in the list: the cursor of the next page. */
  #last = "";
  /** @type {AbortController | null} */
  #stop = null;

  constructor() {
    this.part = byId("detail-files-part");
    this.list = byId("detail-files");
    this.amount = byId("detail-files-amount");
    this.notice = byId("detail-files-notice");
    this.more = h("button", { type: "button", class: "button small" }, "Show more");
    this.more.addEventListener("click", () => void this.#fetch());
    byId("detail-files-more").append(this.more);
  }

  /** @param {string} id of a job */
  open(id) {
    this.close();
    this.#id = id;
    this.#drawn = "";
    setHidden(this.part, true);
  }

  close() {
    this.#id = "";
    this.#stop?.abort();
  }

  /** @param {Job} job */
  update({ files, filesTotal }) {
    const key = JSON.stringify([files, filesTotal]);
    if (key === this.#drawn) return;
    this.#drawn = key;
    this.#stop?.abort();
    this.list.replaceChildren();
    this.#shown = 0;
    this.#total = filesTotal;
    setTextOrHide(this.notice, "");
    this.#show(files ?? []);
    setHidden(this.part, filesTotal === 0);
  }

  async #fetch() {
    const stop = (this.#stop = new AbortController());
    this.more.disabled = true;
    try {
      const files = await getFiles(this.#id, this.#last, stop.signal);
      if (stop.signal.aborted) return;
      setTextOrHide(this.notice, "");
      this.#show(files);
    } catch (problem) {
      if (stop.signal.aborted) return;
      if (!(problem instanceof Problem || problem instanceof Unreachable)) throw problem;
      setTextOrHide(this.notice, explain(problem));
    } finally {
      this.more.disabled = false;
    }
  }

  /** @param {OutputFile[]} files */
  #show(files) {
    this.list.append(...files.map((file) => fileItem(this.#id, file)));
    this.#shown += files.length;
    this.#last = files.at(-1)?.name ?? "";
    const some = this.#shown < this.#total && files.length > 0;
    setTextOrHide(this.amount, some ? `${count(this.#shown)} of ${count(this.#total)}` : "");
    setHidden(this.more, !some);
  }
}

/** @param {string} id @param {OutputFile} file */
function fileItem(id, { name, sizeBytes, contentType }) {
  const open = h("a", {
    class: "button small", href: fileUrl(id, name, true).href, target: "_blank", rel: "noopener",
    "aria-label": `Open ${name} in a new tab`,
  }, "Open");
  return h("li", {},
    h("a", { href: fileUrl(id, name).href, download: name }, name),
    h("span", { class: "file-size" }, bytes(sizeBytes)),
    VIEWABLE.test(contentType) ? open : null);
}
