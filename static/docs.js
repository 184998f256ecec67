// Renders `openapi.json`: operations by area, with their schemas, examples and responses, and a form to try each.

import { tryIt } from "./docs-try.js";
import { h, setHidden } from "./dom.js";
import { schemaView, typeOf } from "./docs-schema.js";
import { prose } from "./docs-text.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const place = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {any} doc */
function show(doc) {
  place("title").textContent = `${doc.info.title} ${doc.info.version}: the HTTP API`;
  place("about").append(...prose(doc.info.description ?? ""));
  for (const tag of doc.tags) {
    const operations = operationsOf(doc, tag.name).map((found) => operationView(doc, found));
    if (operations.length === 0) continue;
    place("operations").append(h("section", { "data-area": tag.name },
      h("h2", { id: tag.name }, tag.name, " ", h("small", {}, tag.description)), ...operations));
  }
  if (doc["x-limits"]) {
    place("operations").append(h("section", {}, h("h2", { id: "limits" }, "limits"), limitsView(doc["x-limits"])));
  }
}

/** @param {any} doc @param {string} tag @returns {{method: string, path: string, operation: any}[]} */
function operationsOf(doc, tag) {
  return Object.entries(doc.paths).flatMap(([path, methods]) => METHODS
    .filter((method) => methods[method]?.tags?.includes(tag))
    .map((method) => ({ method, path, operation: methods[method] })));
}

/** @param {any} doc @param {{method: string, path: string, operation: any}} found */
function operationView(doc, { method, path, operation }) {
  const details = h("details", { class: "operation", id: operation.operationId },
    h("summary", {},
      h("span", { class: `method ${method}` }, method.toUpperCase()),
      h("span", { class: "path" }, path), h("span", { class: "summary" }, operation.summary)));
  details.dataset.words = `${method} ${path} ${operation.summary} ${operation.description ?? ""}`.toLowerCase();
  // Rendered when it is opened: all of them at once are thousands of elements.
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(bodyView(doc, method, path, operation));
  });
  return details;
}

/** @param {any} doc @param {string} method @param {string} path @param {any} operation */
function bodyView(doc, method, path, operation) {
  const parameters = (operation.parameters ?? []).map((/** @type {any} */ given) => resolve(doc, given));
  const body = h("div", { class: "body" }, ...prose(operation.description ?? ""));
  if (parameters.length > 0) body.append(h("h3", {}, "Parameters"), parametersView(doc, parameters));
  if (operation.requestBody) body.append(h("h3", {}, "Body"), ...contentView(doc, operation.requestBody.content));
  body.append(h("h3", {}, "Responses"), ...Object.entries(operation.responses).map(
    ([status, response]) => responseView(doc, status, response)));
  body.append(h("h3", {}, "Try it"), tryIt(method, path, parameters, operation.requestBody));
  return body;
}

/** @param {any} doc @param {any[]} parameters */
function parametersView(doc, parameters) {
  return h("dl", {}, ...parameters.flatMap((parameter) => [
    h("dt", {}, parameter.name, parameter.required ? h("span", { class: "required" }, " *") : null),
    h("dd", {}, h("span", { class: "type" }, `${parameter.in}, ${typeOf(doc, parameter.schema)}`),
      ...prose(parameter.description ?? "")),
  ]));
}

/** @param {any} doc @param {Record<string, any>} content */
function contentView(doc, content) {
  return Object.entries(content).flatMap(([type, { schema, example }]) => [
    h("p", { class: "type" }, type),
    schema && Object.keys(schema).length > 0 ? schemaView(doc, schema) : "",
    example === undefined ? "" : h("pre", {}, JSON.stringify(example, null, 2)),
  ]);
}

/** @param {any} doc @param {string} status @param {any} response */
function responseView(doc, status, response) {
  const headers = Object.keys(response.headers ?? {});
  const links = Object.values(response.links ?? {});
  return h("details", {},
    h("summary", {}, h("span", { class: "status" }, status), " ", response.description),
    headers.length > 0 ? h("p", { class: "type" }, `Headers: ${headers.join(", ")}`) : null,
    ...contentView(doc, response.content ?? {}),
    links.length > 0 ? h("p", {}, "See also: ", ...links.flatMap((/** @type {any} */ link, index) => [
      index > 0 ? ", " : "", h("a", { href: `#${link.operationId}` }, link.operationId)])) : null);
}

/** @param {Record<string, number>} limits */
function limitsView(limits) {
  return h("dl", {}, ...Object.entries(limits).flatMap(([name, value]) => [
    h("dt", {}, name), h("dd", {}, value.toLocaleString("en"))]));
}

/** @param {any} doc @param {any} part */
function resolve(doc, part) {
  if (!part.$ref) return part;
  return part.$ref.slice(2).split("/").reduce((/** @type {any} */ found, /** @type {string} */ key) => found[key], doc);
}

function search() {
  const words = /** @type {HTMLInputElement} */ (place("search")).value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of place("operations").querySelectorAll("section[data-area]")) {
    let shown = 0;
    for (const operation of /** @type {NodeListOf<HTMLElement>} */ (section.querySelectorAll(".operation"))) {
      const fits = words.every((word) => operation.dataset.words?.includes(word));
      setHidden(operation, !fits);
      if (fits) shown += 1;
    }
    setHidden(/** @type {HTMLElement} */ (section), shown === 0);
  }
}

function openNamed() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named instanceof HTMLDetailsElement) {
    named.open = true;
    named.scrollIntoView();
  }
}

async function start() {
  const response = await fetch("openapi.json");
  if (response.status === 401) return askForKey();
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  show(await response.json());
  setHidden(place("notice"), true);
  place("search").addEventListener("input", search);
  addEventListener("hashchange", openNamed);
  openNamed();
}

/** Explains how to get access: the cookie of a session is enough for this page. */
function askForKey() {
  place("notice").replaceChildren("The API description requires an API key. ",
    h("a", { href: "." }, "Sign in"), " and open this page again. Programs send the header ",
    h("code", {}, "Authorization: Bearer hwk_…"), ".");
}

try {
  await start();
} catch (error) {
  place("notice").textContent = `The API description could not be loaded: ${/** @type {Error} */ (error).message}.`;
}
