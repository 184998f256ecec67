// Reads the JSON Schema that pydantic generates for an input model: references, optional fields, samples. Pure.

/**
 * The subset of JSON Schema that forms are generated from.
 *
 * @typedef {object} Schema
 * @property {string} [type]
 * @property {string} [title]
 * @property {string} [description]
 * @property {string} [format]
 * @property {string} [pattern]
 * @property {string} [contentMediaType]
 * @property {string} [$ref]
 * @property {Record<string, Schema>} [$defs]
 * @property {Schema[]} [allOf]
 * @property {Schema[]} [anyOf]
 * @property {Schema[]} [oneOf]
 * @property {unknown[]} [enum]
 * @property {unknown} [const]
 * @property {unknown} [default]
 * @property {unknown[]} [examples]
 * @property {Record<string, Schema>} [properties]
 * @property {string[]} [required]
 * @property {Schema} [items]
 * @property {number} [minimum]
 * @property {number} [maximum]
 * @property {number} [exclusiveMinimum]
 * @property {number} [exclusiveMaximum]
 * @property {number} [multipleOf]
 * @property {number} [minLength]
 * @property {number} [maxLength]
 */

/**
 * The effective schema of a property: references resolved, a single `allOf` and "or null" unwrapped.
 * Keywords beside a reference (title, description, default) override those of its target.
 *
 * @param {Schema} schema
 * @param {Schema} root  holds `$defs`
 * @returns {{schema: Schema, nullable: boolean}}
 */
export function resolve(schema, root) {
  let nullable = false;
  for (let depth = 0; depth < 20; depth += 1) {
    const { $ref, allOf, anyOf, ...own } = schema;
    const choices = anyOf?.filter((choice) => choice.type !== "null") ?? [];
    if ($ref) schema = { ...lookUp($ref, root), ...own };
    else if (allOf?.length === 1) schema = { ...allOf[0], ...own };
    else if (anyOf && choices.length === 1) {
      nullable ||= choices.length < anyOf.length;
      schema = { ...choices[0], ...own };
    } else break;
  }
  return { schema, nullable };
}

/** @param {string} ref "#/$defs/Name" @param {Schema} root @returns {Schema} */
function lookUp(ref, root) {
  const steps = ref.replace(/^#\/?/, "").split("/").filter(Boolean);
  /** @type {any} */
  let found = root;
  for (const step of steps) found = found?.[step.replaceAll("~1", "/").replaceAll("~0", "~")];
  return found ?? {};
}

/**
 * The kind of control for a schema.
 *
 * @param {Schema} schema  resolved
 * @returns {"const" | "enum" | "file" | "object" | "boolean" | "integer" | "number" | "date" | "date-time"
 *   | "text" | "json"}
 */
export function kindOf(schema) {
  if ("const" in schema) return "const";
  if (schema.enum) return "enum";
  if (schema.anyOf || schema.oneOf || schema.allOf) return "json";
  if (schema.type === "object") return schema.properties ? "object" : "json";
  if (schema.type === "boolean" || schema.type === "integer" || schema.type === "number") return schema.type;
  if (schema.type !== "string") return "json";
  if (schema.format === "binary") return "file";
  return schema.format === "date" || schema.format === "date-time" ? schema.format : "text";
}

/** @param {string} name "minimum_score" → "Minimum score", for schemas without titles */
export function humanName(name) {
  const words = name.replaceAll(/([a-z])([A-Z])/g, "$1 $2").replaceAll("_", " ").toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * Sample values for trying a job: the author's example; else the examples and defaults of the properties; else, if
 * required, a value that fits. Files are not included.
 *
 * @param {Schema} given
 * @param {Schema} root
 * @returns {unknown} undefined: omit it
 */
export function sampleOf(given, root, required = true, depth = 0) {
  const { schema } = resolve(given, root);
  const kind = kindOf(schema);
  if (kind === "file") return undefined;
  if (schema.examples?.length && (kind !== "object" || isRecord(schema.examples[0]))) return schema.examples[0];
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (!required || depth > 4) return undefined;
  if (kind === "object") return sampleOfProperties(schema, root, depth);
  return plausible(kind, schema);
}

/** @param {Schema} schema @param {Schema} root @param {number} depth */
function sampleOfProperties(schema, root, depth) {
  const sampled = Object.entries(schema.properties ?? {}).map(([name, property]) =>
    [name, sampleOf(property, root, schema.required?.includes(name) ?? false, depth + 1)]);
  return Object.fromEntries(sampled.filter(([, value]) => value !== undefined));
}

/** @param {string} kind @param {Schema} schema */
function plausible(kind, schema) {
  if (kind === "const") return schema.const;
  if (kind === "enum") return schema.enum?.[0];
  if (kind === "boolean") return true;
  if (kind === "integer" || kind === "number") return plausibleNumber(schema);
  if (kind === "date") return new Date().toISOString().slice(0, 10);
  if (kind === "date-time") return new Date().toISOString();
  if (kind === "text") return "Example".padEnd(schema.minLength ?? 0, ".").slice(0, schema.maxLength ?? 100);
  return schema.type === "array" ? [] : {};
}

/** @param {Schema} schema */
function plausibleNumber({ minimum, exclusiveMinimum, maximum, exclusiveMaximum }) {
  const least = minimum ?? (exclusiveMinimum === undefined ? 1 : exclusiveMinimum + 1);
  return Math.min(least, maximum ?? (exclusiveMaximum === undefined ? least : exclusiveMaximum - 1));
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
export const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
