// Sends a request as filled in and shows the response; a stream is shown as it arrives.

import { h, setHidden } from "./dom.js";

const SHOWN_CHARS = 50_000;
/** Links are relative to the page, so the server may be mounted under a path prefix. */
const root = new URL(".", document.baseURI);

/** @param {string} method @param {string} path @param {any[]} parameters @param {any} requestBody */
export function tryIt(method, path, parameters, requestBody) {
  const fields = parameters.map((parameter) => ({ parameter, input: h("input", { autocomplete: "off" }) }));
  const json = requestBody?.content["application/json"];
  const body = json ? h("textarea", { rows: 6, spellcheck: "false" }) : null;
  if (body) body.value = JSON.stringify(json.example ?? {}, null, 2);
  const output = h("pre", { hidden: true, tabindex: "0", "aria-live": "polite" });
  const form = h("form", {},
    ...fields.map(({ parameter, input }) => h("label", {}, parameter.name, input)),
    body && h("label", {}, "body", body), h("div", {}, h("button", {}, "Send")), output);
  /** @type {AbortController | null} */
  let sending = null;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sending?.abort();
    sending = new AbortController();
    setHidden(output, false);
    output.textContent = "…";
    void send(request(method, path, fields, body, sending.signal), output);
  });
  return form;
}

/** @param {string} method @param {string} path @param {{parameter: any, input: HTMLInputElement}[]} fields
 *  @param {HTMLTextAreaElement | null} body @param {AbortSignal} signal */
function request(method, path, fields, body, signal) {
  const given = fields.filter(({ parameter, input }) => parameter.required || input.value !== "");
  let filled = path;
  const headers = new Headers(body ? { "Content-Type": "application/json" } : {});
  const query = new URLSearchParams();
  for (const { parameter, input } of given) {
    if (parameter.in === "path") filled = filled.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (parameter.in === "query") query.set(parameter.name, input.value);
    else headers.set(parameter.name, input.value);
  }
  const url = new URL(filled.slice(1), root);
  url.search = query.toString();
  return new Request(url, { method: method.toUpperCase(), headers, body: body?.value, signal, cache: "no-store" });
}

/** @param {Request} request @param {HTMLElement} output */
async function send(request, output) {
  try {
    const response = await fetch(request);
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`);
    output.textContent = [`${response.status} ${response.statusText}`, ...headers, "", ""].join("\n");
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let shown = 0;
    for (let part = await reader?.read(); part && !part.done && shown < SHOWN_CHARS; part = await reader?.read()) {
      output.append(part.value.slice(0, SHOWN_CHARS - shown));
      shown += part.value.length;
    }
    await reader?.cancel();
  } catch (error) {
    if (/** @type {Error} */ (error).name !== "AbortError") output.textContent = `${error}`;
  }
}
