// The subset of Markdown that descriptions use: paragraphs, lists and `code`.

import { h } from "./dom.js";

/** @param {string} text @returns {HTMLElement[]} */
export function prose(text) {
  return text.split(/\n{2,}/).filter((block) => block.trim() !== "").map((block) => {
    if (!block.startsWith("- ")) return h("p", {}, ...inline(block));
    return h("ul", {}, ...block.slice(2).split(/\n- /).map((item) => h("li", {}, ...inline(item))));
  });
}

/** @param {string} text @returns {(string | HTMLElement)[]} */
function inline(text) {
  return text.split("`").map((part, index) => (index % 2 === 1 ? h("code", {}, part) : part));
}
