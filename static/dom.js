// The few DOM operations that all views share. Text is only ever inserted as text nodes, never as markup, and no text
// changes the direction of what stands beside it.

import { steady } from "./format.js";

/**
 * Creates an element. Attributes that are null or false are omitted; children are nodes or text.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes]
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  for (const child of children) {
    if (child !== null && child !== undefined) element.append(typeof child === "string" ? steady(child) : child);
  }
  return element;
}

/**
 * Sets an attribute only if it changes: an unchanged node costs no style or layout work.
 *
 * @param {Element} element
 * @param {string} name
 * @param {string | number | boolean | null | undefined} value  null or false removes it
 */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/**
 * Sets the text of a node that contains only text, if it changes.
 *
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  const shown = steady(text);
  if (node.textContent !== shown) node.textContent = shown;
}

/**
 * Sets the text, and hides the element if it is empty.
 *
 * @param {HTMLElement} element
 * @param {string} text
 */
export function setTextOrHide(element, text) {
  setText(element, text);
  setHidden(element, text === "");
}

/**
 * @param {HTMLElement} element
 * @param {boolean} hidden
 */
export function setHidden(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

/**
 * The element with this id. A missing one is a mistake in index.html, so this throws.
 *
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element;
}

/**
 * Runs `paint` in an animation frame, at most ten times a second however often it is requested.
 * The server ticks at that rate too, so painting more often would show nothing new.
 *
 * @param {() => void} paint
 * @returns {() => void} requests a paint
 */
export function throttled(paint) {
  const intervalMs = 100;
  let requested = false;
  let lastMs = -Infinity;
  const run = () => {
    requested = false;
    lastMs = performance.now();
    paint();
  };
  return () => {
    if (requested) return;
    requested = true;
    const waitMs = lastMs + intervalMs - performance.now();
    if (waitMs <= 0) requestAnimationFrame(run);
    else setTimeout(() => requestAnimationFrame(run), waitMs);
  };
}
