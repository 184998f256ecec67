// A job's log: follows the end until the reader scrolls up, and loads earlier lines on request.

import { explain, getLog } from "./api.js";
import { byId, h, setHidden, setTextOrHide, throttled } from "./dom.js";
import { timeOfDay } from "./format.js";

/** @typedef {import("./headway.js").LogLine} LogLine */

/** Lines fetched at once when going back: as many as a stream sends at its start. */
const PAGE = 200;
/** A page that stays open on a verbose job must not grow without limit. */
const MOST_LINES = 5000;
/** seq 1 is the submission and 2 the first start, so no log line comes before 3. */
const FIRST_SEQ = 3;

export class LogView {
  /** @type {LogLine[]} */
  #fresh = [];
  /** @type {Set<number>} */
  #shown = new Set();
  #id = "";
  #first = Infinity;
  #last = 0;

  constructor() {
    this.box = byId("log");
    this.lines = byId("log-lines");
    this.earlier = byId("log-earlier");
    this.notice = byId("log-notice");
    this.toEnd = byId("log-to-end");
    this.requestPaint = throttled(() => this.#paint());
    this.earlier.addEventListener("click", () => void this.#showEarlier());
    this.toEnd.addEventListener("click", () => {
      this.#scrollToEnd();
      this.box.focus({ preventScroll: true });
    });
    this.box.addEventListener("scroll", () => setHidden(this.toEnd, this.#atEnd()), { passive: true });
  }

  /** The newest line held, after which to continue. */
  get lastSeq() {
    return this.#last;
  }

  /** @param {string} id */
  open(id) {
    this.#id = id;
    this.clear();
  }

  clear() {
    this.#fresh = [];
    this.#shown.clear();
    this.#first = Infinity;
    this.#last = 0;
    this.lines.replaceChildren();
    setHidden(this.earlier, true);
    setHidden(this.toEnd, true);
    setTextOrHide(this.notice, "No lines yet.");
  }

  /** No more lines will come. */
  end() {
    if (this.#shown.size === 0) setTextOrHide(this.notice, "The job wrote no lines.");
  }

  /** @param {LogLine} line */
  add(line) {
    if (this.#shown.has(line.seq)) return;
    this.#shown.add(line.seq);
    this.#fresh.push(line);
    this.#first = Math.min(this.#first, line.seq);
    this.#last = Math.max(this.#last, line.seq);
    this.requestPaint();
  }

  #paint() {
    if (this.#fresh.length === 0) return;
    const follow = this.#atEnd();
    const batch = document.createDocumentFragment();
    for (const line of this.#fresh.splice(0)) batch.append(lineElement(line));
    this.lines.append(batch);
    this.#dropOldest();
    setTextOrHide(this.notice, "");
    setHidden(this.earlier, this.#first <= FIRST_SEQ);
    if (follow) this.#scrollToEnd();
  }

  #dropOldest() {
    while (this.lines.childElementCount > MOST_LINES) {
      const oldest = /** @type {HTMLElement} */ (this.lines.firstElementChild);
      this.#shown.delete(Number(oldest.dataset.seq));
      oldest.remove();
      this.#first = Number(/** @type {HTMLElement} */ (this.lines.firstElementChild).dataset.seq);
    }
  }

  #atEnd() {
    return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 24;
  }

  #scrollToEnd() {
    this.box.scrollTop = this.box.scrollHeight;
  }

  async #showEarlier() {
    const id = this.#id;
    try {
      const lines = await this.#fetchBefore(id, this.#first);
      if (id === this.#id) this.#prepend(lines);
    } catch (problem) {
      if (id === this.#id) setTextOrHide(this.notice, explain(problem));
    }
  }

  /**
   * The API only pages forward, so this starts a page earlier, and further back if that page contains only state
   * changes, which have numbers too.
   *
   * @param {string} id @param {number} before @returns {Promise<LogLine[]>}
   */
  async #fetchBefore(id, before) {
    for (let from = before; from > 0; ) {
      from = Math.max(0, from - PAGE - 1);
      /** @type {LogLine[]} */
      const found = [];
      for (let after = from; ; ) {
        const { lines, nextAfter } = await getLog(id, after);
        found.push(...lines.filter((line) => line.seq < before));
        if (nextAfter === null || nextAfter >= before || nextAfter <= after) break;
        after = nextAfter;
      }
      if (found.length > 0 || from === 0) {
        if (from === 0) this.#first = FIRST_SEQ;
        return found;
      }
    }
    return [];
  }

  /** @param {LogLine[]} lines */
  #prepend(lines) {
    const fresh = lines.filter((line) => !this.#shown.has(line.seq));
    for (const { seq } of fresh) {
      this.#shown.add(seq);
      this.#first = Math.min(this.#first, seq);
    }
    const fromEnd = this.box.scrollHeight - this.box.scrollTop;
    this.lines.prepend(...fresh.map(lineElement));
    // The lines being read stay in place.
    this.box.scrollTop = this.box.scrollHeight - fromEnd;
    const focused = document.activeElement === this.earlier;
    setHidden(this.earlier, this.#first <= FIRST_SEQ);
    if (focused && this.earlier.hidden) this.box.focus({ preventScroll: true });
  }
}

/** @param {LogLine} line */
function lineElement({ seq, at, level, message }) {
  const plain = level === "info";
  return h("li", { "data-level": level, "data-seq": seq },
    h("time", { datetime: at }, timeOfDay(at)), " ",
    plain ? null : h("b", { class: "log-level" }, `${level} `), h("span", {}, message));
}
