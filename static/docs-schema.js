// Renders JSON Schema for readers: names, types and limits. Nested parts are rendered when they are opened.

import { prose } from "./docs-text.js";
import { h } from "./dom.js";

const LIMITS = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern",
  "minItems", "maxItems", "format", "default", "const", "contentMediaType"];

/** @param {any} doc @param {any} schema @returns {any} */
function resolved(doc, schema) {
  if (!schema.$ref) return schema;
  const { $ref, ...beside } = schema;
  const found = $ref.slice(2).split("/").reduce((/** @type {any} */ part, /** @type {string} */ key) => part[key], doc);
  const properties = beside.properties ? { ...found.properties, ...beside.properties } : found.properties;
  return { ...found, ...beside, ...(properties ? { properties } : {}) };
}

/** @param {any} doc @param {any} given @returns {string} */
export function typeOf(doc, given) {
  const schema = resolved(doc, given ?? {});
  const choices = schema.anyOf ?? schema.oneOf;
  let name = schema.type ?? "any";
  if (choices) name = choices.map((/** @type {any} */ choice) => typeOf(doc, choice)).join(" | ");
  else if (schema.enum) name = schema.enum.map((/** @type {any} */ value) => JSON.stringify(value)).join(" | ");
  else if (schema.type === "array") name = `array of ${typeOf(doc, schema.items ?? {})}`;
  else if (schema.type === "object" && schema.title) name = schema.title;
  else if (Array.isArray(schema.type)) name = schema.type.join(" | ");
  const limits = LIMITS.filter((limit) => schema[limit] !== undefined)
    .map((limit) => `${limit} ${JSON.stringify(schema[limit])}`);
  return [name, ...limits].join(", ");
}

/** The part of a schema that has properties: itself, the items of an array, or the first such alternative.
 * @param {any} doc @param {any} given @returns {any} */
function withParts(doc, given) {
  const schema = resolved(doc, given ?? {});
  if (schema.properties) return schema;
  if (schema.items) return withParts(doc, schema.items);
  for (const choice of schema.anyOf ?? schema.oneOf ?? []) {
    const found = withParts(doc, choice);
    if (found) return found;
  }
  return null;
}

/** @param {any} doc @param {any} schema @returns {HTMLElement} */
export function schemaView(doc, schema) {
  const parts = withParts(doc, schema);
  if (!parts) return h("p", { class: "type" }, typeOf(doc, schema));
  const required = new Set(parts.required ?? []);
  return h("ul", { class: "schema" }, ...Object.entries(parts.properties).map(
    ([name, part]) => propertyView(doc, name, part, required.has(name))));
}

/** @param {any} doc @param {string} name @param {any} part @param {boolean} required */
function propertyView(doc, name, part, required) {
  const head = [h("span", { class: "name" }, name), required ? h("span", { class: "required" }, " * ") : " ",
    h("span", { class: "type" }, typeOf(doc, part))];
  const description = prose(resolved(doc, part).description ?? "");
  if (!withParts(doc, part)) return h("li", {}, ...head, ...description);
  const details = h("details", {}, h("summary", {}, ...head));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(...description, schemaView(doc, part));
  });
  return h("li", {}, details);
}
