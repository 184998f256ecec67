// The webhooks of a job: the state of each delivery, and a button to send it again.

import { explain, getDeliveries, redeliver, serverNow } from "./api.js";
import { byId, h, setAttribute, setHidden, setText, setTextOrHide } from "./dom.js";
import { deliveryLine, isBeingSent } from "./format.js";
import { whyReadOnly } from "./session.js";
import { Problem, Unreachable } from "./headway.js";

/** @typedef {import("./api.js").Delivery} Delivery */

/** Intervals at which a delivery is polled while an attempt is due or in flight. */
const FIRST_POLL_MS = 1_500;
const LONGEST_POLL_MS = 30_000;
/** How long after it is due an attempt usually has an outcome. */
const ATTEMPT_MS = 1_000;
/** The longest delay that browsers' timers support. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const STATUSES = {
  pending: { glyph: "○", word: "Pending" },
  delivered: { glyph: "✓", word: "Delivered" },
  failed: { glyph: "✕", word: "Failed" },
};

export class DeliveriesView {
  #id = "";
  /** @type {AbortController | null} */
  #stop = null;
  /** @type {Map<string, DeliveryItem>} */
  #items = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #pollMs = FIRST_POLL_MS;

  /** @param {(news: string) => void} announce  to screen readers */
  constructor(announce) {
    this.announce = announce;
    this.part = byId("detail-deliveries-part");
    this.list = byId("deliveries");
    this.notice = byId("deliveries-notice");
    document.addEventListener("visibilitychange", () => !document.hidden && this.refresh());
  }

  /** @param {string} id of a job */
  open(id) {
    this.close();
    this.#id = id;
    this.#items.clear();
    this.list.replaceChildren();
    setHidden(this.part, true);
    this.refresh();
  }

  close() {
    this.#id = "";
    this.#stop?.abort();
    clearTimeout(this.#timer);
  }

  /** Fetches the deliveries after a change of the job, which may have added or advanced some. */
  refresh() {
    this.#pollMs = FIRST_POLL_MS;
    void this.#fetch();
  }

  async #fetch() {
    clearTimeout(this.#timer);
    this.#stop?.abort();
    if (!this.#id) return;
    const stop = (this.#stop = new AbortController());
    try {
      const deliveries = await getDeliveries(this.#id, stop.signal);
      if (stop.signal.aborted) return;
      setTextOrHide(this.notice, "");
      this.#show(deliveries);
    } catch (problem) {
      if (stop.signal.aborted) return;
      if (!(problem instanceof Problem || problem instanceof Unreachable)) throw problem;
      // The connection state is shown elsewhere; but what is shown here may be out of date.
      if (this.#items.size > 0) setTextOrHide(this.notice, "This may be out of date: it could not be refreshed.");
      this.#fetchIn(LONGEST_POLL_MS);
    }
  }

  /** @param {Delivery[]} deliveries */
  #show(deliveries) {
    const nowMs = serverNow();
    for (const delivery of deliveries) {
      const item = this.#itemFor(delivery);
      const before = item.element.dataset.status;
      item.update(delivery, nowMs);
      const { word } = STATUSES[delivery.status];
      if (before && before !== delivery.status) this.announce(`${delivery.event}: ${word}`);
    }
    const wanted = new Set(deliveries.map((delivery) => delivery.deliveryId));
    for (const [id, item] of this.#items) {
      if (wanted.has(id)) continue;
      item.element.remove();
      this.#items.delete(id);
    }
    // Newest first, like the list of jobs. An item that is in its place is not moved, so that it keeps the focus.
    let place = this.list.firstElementChild;
    for (const { deliveryId } of deliveries) {
      const element = /** @type {DeliveryItem} */ (this.#items.get(deliveryId)).element;
      if (element === place) place = place.nextElementSibling;
      else this.list.insertBefore(element, place);
    }
    setHidden(this.part, deliveries.length === 0);
    this.#schedulePoll(deliveries, nowMs);
  }

  /** @param {Delivery} delivery */
  #itemFor({ deliveryId }) {
    let item = this.#items.get(deliveryId);
    if (!item) {
      item = new DeliveryItem(() => void this.#sendAgain(deliveryId));
      this.#items.set(deliveryId, item);
    }
    return item;
  }

  /**
   * There are no events for attempts: this polls once after an attempt is due, then at growing intervals.
   *
   * @param {Delivery[]} deliveries
   * @param {number} nowMs
   */
  #schedulePoll(deliveries, nowMs) {
    const pending = deliveries.filter(({ status }) => status === "pending");
    if (pending.length === 0 || document.hidden) return;
    const due = pending.map(({ nextAttemptAt }) => (nextAttemptAt ? Date.parse(nextAttemptAt) : nowMs));
    const untilMs = Math.min(...due) + ATTEMPT_MS - nowMs;
    const overdue = untilMs < this.#pollMs;
    this.#fetchIn(overdue ? this.#pollMs : untilMs);
    if (overdue) this.#pollMs = Math.min(this.#pollMs * 2, LONGEST_POLL_MS);
  }

  /** @param {number} ms */
  #fetchIn(ms) {
    this.#timer = setTimeout(() => void this.#fetch(), Math.min(ms, LONGEST_TIMER_MS));
  }

  /** @param {string} deliveryId */
  async #sendAgain(deliveryId) {
    const item = this.#items.get(deliveryId);
    const id = this.#id;
    if (whyReadOnly()) return setTextOrHide(this.notice, whyReadOnly());
    if (!item?.idle) return;
    item.setBusy(true);
    try {
      const delivery = await redeliver(id, deliveryId);
      setTextOrHide(this.notice, "");
      item.update(delivery, serverNow());
    } catch (problem) {
      if (id === this.#id) setTextOrHide(this.notice, explain(problem));
    }
    item.setBusy(false);
    if (id === this.#id) this.refresh();
  }
}

class DeliveryItem {
  busy = false;
  #beingSent = false;

  /** @param {() => void} onSendAgain */
  constructor(onSendAgain) {
    this.glyph = h("span", { class: "glyph", "aria-hidden": "true" });
    this.word = h("span");
    this.badge = h("span", { class: "badge" }, this.glyph, this.word);
    this.event = h("span", { class: "code" });
    this.line = h("p", { class: "delivery-line" });
    this.error = h("p", { class: "delivery-error", hidden: true });
    this.url = h("p", { class: "delivery-url code" });
    this.again = h("button", { type: "button", class: "button small" }, "Send again");
    this.again.addEventListener("click", onSendAgain);
    this.element = h("li", { class: "delivery" },
      h("div", { class: "delivery-head" }, this.badge, this.event), this.line, this.error, this.url, this.again);
  }

  /** @param {Delivery} delivery @param {number} nowMs */
  update(delivery, nowMs) {
    const { glyph, word } = STATUSES[delivery.status];
    setText(this.glyph, glyph);
    setText(this.word, word);
    setText(this.event, delivery.event);
    setText(this.url, delivery.url);
    setText(this.line, deliveryLine(delivery, nowMs));
    setTextOrHide(this.error, delivery.status === "delivered" ? "" : (delivery.lastError ?? ""));
    for (const element of [this.element, this.badge]) setAttribute(element, "data-status", delivery.status);
    const doing = delivery.status === "pending" ? "now" : "again";
    setText(this.again, `Send ${doing}`);
    setAttribute(this.again, "aria-label", `Send ${delivery.event} ${doing}`);
    this.#beingSent = isBeingSent(delivery, nowMs);
    this.#mark();
  }

  /** @param {boolean} busy */
  setBusy(busy) {
    this.busy = busy;
    this.#mark();
  }

  get idle() {
    return !this.busy && !this.#beingSent;
  }

  /** Not `disabled`, so that the button keeps the focus while the webhook is being sent. */
  #mark() {
    const why = whyReadOnly();
    setAttribute(this.again, "aria-disabled", (why !== "" || !this.idle) && "true");
    setAttribute(this.again, "title", why || null);
    setAttribute(this.again, "aria-describedby", why ? "read-only-why" : null);
  }
}
