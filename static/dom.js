// The few DOM moves that every view shares. Text only ever enters as text nodes: never as markup.

/**
 * Makes an element. Attributes that are null or false are left out; children are nodes or text.
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
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/**
 * Sets an attribute only when it changes: an untouched node costs no style or layout work.
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
 * Sets the text of a node that holds nothing but text, only when it changes.
 *
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Sets the text and hides the element while there is none.
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
 * The element with this id; a missing one is a mistake in index.html, so it throws.
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
 * Runs `paint` in an animation frame, at most ten times a second however often it is asked for.
 * The server ticks at that rate too, so painting faster would show nothing new.
 *
 * @param {() => void} paint
 * @returns {() => void} ask for a paint
 */
export function paced(paint) {
  const intervalMs = 100;
  let asked = false;
  let lastMs = -Infinity;
  const run = () => {
    asked = false;
    lastMs = performance.now();
    paint();
  };
  return () => {
    if (asked) return;
    asked = true;
    const waitMs = lastMs + intervalMs - performance.now();
    if (waitMs <= 0) requestAnimationFrame(run);
    else setTimeout(() => requestAnimationFrame(run), waitMs);
  };
}
