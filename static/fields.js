// One form field for each kind of schema: renders it, reads it, fills it in and shows its error.

import { h, setAttribute, setTextOrHide } from "./dom.js";
import { humanName, isRecord, kindOf, resolve } from "./schema.js";

/** @typedef {import("./schema.js").Schema} Schema */
/**
 * @typedef {object} Field
 * @property {HTMLElement} element
 * @property {string} pointer               JSON pointer into the input (RFC 6901)
 * @property {() => unknown} read           undefined: omit it
 * @property {(value: unknown) => void} fill
 * @property {() => string} check           what is wrong with it, as far as the page can check; "" if valid
 * @property {(detail: string) => void} showError  "" removes it
 * @property {() => void} focus
 * @property {Field[]} children             those that are sent: none while an optional object is omitted
 * @property {{input: HTMLInputElement, mediaType: string} | null} file
 */
/** @typedef {{name: string, pointer: string, required: boolean, depth: number}} Place */

/** Deeper nesting is a recursive model, which no finite form can show. */
const DEEPEST = 4;

let lastId = 0;
const newId = () => `field-${(lastId += 1)}`;

/** @param {string} name @param {string} [pointer] the object's */
export const pointerTo = (name, pointer = "") =>
  `${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;

/**
 * The fields of an object's properties.
 *
 * @param {Schema} schema  resolved
 * @param {Schema} root
 * @param {{pointer: string, depth: number}} at
 * @returns {Field[]}
 */
export function fieldsOf(schema, root, at = { pointer: "", depth: 0 }) {
  return Object.entries(schema.properties ?? {}).map(([name, property]) =>
    fieldFor(property, root, {
      name,
      pointer: pointerTo(name, at.pointer),
      required: schema.required?.includes(name) ?? false,
      depth: at.depth,
    }));
}

/** @param {Schema} given @param {Schema} root @param {Place} place @returns {Field} */
function fieldFor(given, root, place) {
  const { schema, nullable } = resolve(given, root);
  const kind = kindOf(schema);
  // A required field that may be null can be left empty too: it is then sent as null.
  const optional = !place.required || nullable;
  const empty = place.required && nullable ? null : undefined;
  const title = schema.title ?? humanName(place.name);
  const context = { schema, title, place, optional, empty };
  if (kind === "object" && place.depth < DEEPEST) return objectField(context, root);
  if (kind === "const") return fixedField(context);
  if (kind === "boolean" && !nullable) return checkboxField(context);
  if (kind === "boolean") return choiceField(context, [true, false], ["Yes", "No"]);
  if (kind === "enum") return choiceField(context, schema.enum ?? []);
  if (kind === "file") return fileField(context);
  if (kind === "integer" || kind === "number") return numberField(context, kind);
  if (kind === "date" || kind === "date-time") return dateField(context, kind);
  if (kind === "text") return textField(context);
  return jsonField(context);
}

/**
 * @typedef {object} FieldContext
 * @property {Schema} schema
 * @property {string} title
 * @property {Place} place
 * @property {boolean} optional
 * @property {null | undefined} empty  what an empty field is read as
 */
/** @typedef {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Control */

/**
 * A control with its label, hint and error.
 *
 * @param {FieldContext} context
 * @param {Control} control
 * @param {Pick<Field, "read" | "fill"> & Partial<Pick<Field, "check" | "file">>} behaviour
 * @returns {Field}
 */
function labelled({ schema, title, place, optional }, control, behaviour) {
  const id = newId();
  const boxed = control instanceof HTMLInputElement && control.type === "checkbox";
  const hint = h("p", { class: "hint", id: `${id}-hint`, hidden: !schema.description }, schema.description ?? "");
  const error = h("p", { class: "field-error", id: `${id}-error`, hidden: true });
  const label = h("label", { for: id }, title,
    optional && !boxed ? h("span", { class: "optional" }, " optional") : null);
  setAttribute(control, "id", id);
  setAttribute(control, "required", !optional && !boxed);
  setAttribute(control, "aria-describedby", `${hint.id} ${error.id}`);
  const element = h("div", { class: boxed ? "field field-check" : "field", "data-pointer": place.pointer },
    ...(boxed ? [control, label] : [label, control]), hint, error);
  return {
    element,
    pointer: place.pointer,
    check: () => control.validationMessage,
    focus: () => control.focus(),
    children: [],
    file: null,
    showError(detail) {
      setTextOrHide(error, detail);
      setAttribute(control, "aria-invalid", detail !== "" && "true");
    },
    ...behaviour,
  };
}

/** @param {FieldContext} context */
function textField(context) {
  const { schema } = context;
  /** @type {Record<string, string>} */
  const types = { email: "email", uri: "url", time: "time" };
  const { minLength: minlength, maxLength: maxlength } = schema;
  const attributes = { minlength, maxlength, autocomplete: "off", spellcheck: "false" };
  const control = (schema.maxLength ?? 0) > 200
    ? h("textarea", { ...attributes, rows: 3 })
    : h("input", { ...attributes, type: types[schema.format ?? ""] ?? "text", pattern: htmlPattern(schema.pattern) });
  control.value = typeof schema.default === "string" ? schema.default : "";
  return labelled(context, control, {
    read: () => (control.value === "" ? context.empty : control.value),
    fill: (value) => (control.value = value === null ? "" : String(value)),
    check: () =>
      control.validity.patternMismatch ? `This must match the pattern ${schema.pattern}` : control.validationMessage,
  });
}

/** HTML patterns match the whole value, those of JSON Schema anywhere in it. The server decides.
 * @param {string | undefined} pattern */
function htmlPattern(pattern) {
  if (!pattern) return null;
  try {
    new RegExp(pattern, "v");
    return `.*(?:${pattern}).*`;
  } catch {
    return null;
  }
}

/** @param {FieldContext} context @param {"integer" | "number"} kind */
function numberField(context, kind) {
  const { schema } = context;
  const whole = kind === "integer";
  const step = schema.multipleOf ?? (whole ? 1 : "any");
  const control = h("input", {
    type: "number", step, inputmode: whole ? "numeric" : "decimal",
    min: schema.minimum ?? beside(schema.exclusiveMinimum, whole ? 1 : 0),
    max: schema.maximum ?? beside(schema.exclusiveMaximum, whole ? -1 : 0),
  });
  control.value = typeof schema.default === "number" ? String(schema.default) : "";
  return labelled(context, control, {
    read: () => (control.value === "" ? context.empty : Number(control.value)),
    fill: (value) => (control.value = value === null ? "" : String(value)),
    check: () => {
      if (control.validationMessage) return control.validationMessage;
      const exact = !whole || control.value === "" || Number.isSafeInteger(Number(control.value));
      return exact ? "" : "This number is too large to be sent exactly.";
    },
  });
}

/** An exclusive bound as an inclusive one. For fractions it stays the bound itself, which the server rejects.
 * @param {number | undefined} bound @param {number} step */
const beside = (bound, step) => (bound === undefined ? undefined : bound + step);

/** @param {FieldContext} context @param {"date" | "date-time"} kind */
function dateField(context, kind) {
  const local = kind === "date-time";
  const control = h("input", { type: local ? "datetime-local" : "date", step: local ? 1 : null });
  const fill = (/** @type {unknown} */ value) => {
    control.value = typeof value !== "string" ? "" : local ? localTime(value) : value;
  };
  fill(context.schema.default);
  return labelled(context, control, {
    read: () => {
      if (control.value === "") return context.empty;
      return local ? new Date(control.value).toISOString() : control.value;
    },
    fill,
  });
}

/** @param {string} at an instant, in the format of a datetime-local control */
function localTime(at) {
  const instant = new Date(at);
  if (Number.isNaN(instant.getTime())) return "";
  const shifted = new Date(instant.getTime() - instant.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 19);
}

/** @param {FieldContext} context */
function checkboxField(context) {
  const control = h("input", { type: "checkbox" });
  control.checked = context.schema.default === true;
  return labelled(context, control, {
    read: () => control.checked,
    fill: (value) => (control.checked = value === true),
  });
}

/** @param {FieldContext} context @param {unknown[]} values @param {string[]} [words] */
function choiceField(context, values, words = values.map((value) => (value === null ? "None" : String(value)))) {
  const control = h("select");
  const startAt = values.indexOf(context.schema.default);
  if (context.optional) control.append(h("option", { value: "" }, "—"));
  else if (startAt < 0) control.append(h("option", { value: "" }, "Choose…"));
  words.forEach((word, index) => control.append(h("option", { value: index }, word)));
  control.value = startAt < 0 ? "" : String(startAt);
  return labelled(context, control, {
    read: () => (control.value === "" ? context.empty : values[Number(control.value)]),
    fill: (value) => (control.value = values.includes(value) ? String(values.indexOf(value)) : ""),
  });
}

/** @param {FieldContext} context */
function fileField(context) {
  const mediaType = context.schema.contentMediaType ?? "";
  // The media type alone greys out .csv files on systems that know CSV under another name.
  const accept = mediaType === "text/csv" ? ".csv,text/csv" : mediaType || null;
  const input = h("input", { type: "file", accept });
  return labelled(context, input, { read: () => undefined, fill: () => {}, file: { input, mediaType } });
}

/** @param {FieldContext} context */
function jsonField(context) {
  const placeholder = context.schema.type === "array" ? "[ ]" : "{ }";
  const control = h("textarea", { rows: 4, class: "code", spellcheck: "false", placeholder });
  const write = (/** @type {unknown} */ value) => {
    control.value = value === undefined || value === null ? "" : JSON.stringify(value, null, 2);
  };
  write(context.schema.default);
  return labelled(context, control, {
    read: () => (control.value.trim() === "" ? context.empty : JSON.parse(control.value)),
    fill: write,
    check: () => {
      if (control.value.trim() === "") return control.validationMessage;
      try {
        JSON.parse(control.value);
        return "";
      } catch (mistake) {
        return `This is not valid JSON: ${/** @type {Error} */ (mistake).message}`;
      }
    },
  });
}

/** A property with only one possible value is shown, and always sent.
 * @param {FieldContext} context @returns {Field} */
function fixedField({ schema, title, place }) {
  return {
    element: h("p", { class: "field fixed" }, `${title}: ${String(schema.const)}`),
    pointer: place.pointer,
    read: () => schema.const,
    fill: () => {}, check: () => "", showError: () => {}, focus: () => {},
    children: [], file: null,
  };
}

/** @param {FieldContext} context @param {Schema} root @returns {Field} */
function objectField({ schema, title, place, optional, empty }, root) {
  const children = fieldsOf(schema, root, { pointer: place.pointer, depth: place.depth + 1 });
  const error = h("p", { class: "field-error", hidden: true });
  const body = h("div", { class: "group-body" }, ...children.map((child) => child.element));
  const hint = schema.description ? h("p", { class: "hint" }, schema.description) : null;
  // The checkbox distinguishes "omit the object" from "all its fields are empty".
  const included = optional ? h("input", { type: "checkbox", id: newId() }) : null;
  const legend = included ? h("label", { for: included.id }, included, " ", title) : title;
  const element = h("fieldset", { class: "field group", "data-pointer": place.pointer },
    h("legend", {}, legend), hint, error, body);
  const isIn = () => included === null || included.checked;
  const include = (/** @type {boolean} */ yes) => {
    if (included) included.checked = yes;
    body.hidden = !isIn();
  };
  included?.addEventListener("change", () => include(included.checked));
  include(isRecord(schema.default));
  return {
    element, pointer: place.pointer, file: null,
    get children() {
      return isIn() ? children : [];
    },
    read: () => (isIn() ? readAll(children) : empty),
    fill: (value) => {
      include(isRecord(value));
      if (isRecord(value)) fillAll(children, value);
    },
    check: () => "",
    showError: (detail) => setTextOrHide(error, detail),
    focus: () => (included ?? children[0])?.focus(),
  };
}

/** @param {Field[]} fields @returns {Record<string, unknown>} */
export function readAll(fields) {
  // Not by assignment, which would set a prototype if a field is called `__proto__`.
  return Object.fromEntries(
    fields.map((field) => [nameOf(field), field.read()]).filter(([, value]) => value !== undefined));
}

/** @param {Field[]} fields @param {Record<string, unknown>} values */
export function fillAll(fields, values) {
  for (const field of fields) if (Object.hasOwn(values, nameOf(field))) field.fill(values[nameOf(field)]);
}

/** @param {Field} field */
export const nameOf = (field) =>
  (field.pointer.split("/").at(-1) ?? "").replaceAll("~1", "/").replaceAll("~0", "~");

/** Every field that is sent, outer ones before inner ones. @param {Field[]} fields @returns {Field[]} */
export const flatten = (fields) => fields.flatMap((field) => [field, ...flatten(field.children)]);
