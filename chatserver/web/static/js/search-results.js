/** What a search found, in the place of the conversations. */

import { isAbort } from "./api.js";
import { titleOf } from "./conversation-list.js";
import { button, element } from "./dom.js";
import { describe, problem } from "./feedback.js";
import { addressOf } from "./router.js";

/** The text with the query's words marked. @param {string} text @param {string} query */
function marked(text, query) {
  const words = query.split(/[\s"]+/u).filter((word) => word && !word.startsWith("-"));
  if (!words.length) return [text];
  const pattern = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/gu, "\\$&")).join("|");
  const parts = text.split(new RegExp(`(${pattern})`, "giu"));
  return parts.map((part, index) => (index % 2 ? element("mark", {}, part) : part));
}

/** @param {SearchHit} hit @param {string} query */
function createHit({ message, conversation, snippet }, query) {
  const id = `hit-${message?.id ?? conversation.id}`;
  const title = element("span", { id, class: "hit-title", dir: "auto" }, titleOf(conversation));
  const text = element("span", { id: `${id}-text`, class: "snippet", dir: "auto" }, ...marked(snippet, query));
  const attributes = {
    class: "conversation-link hit",
    href: addressOf(conversation.id, message?.id),
    "aria-labelledby": title.id,
    "aria-describedby": text.id,
  };
  return element("li", { class: "conversation" }, element("a", attributes, title, text));
}

/** @type {CreateSearchResults} */
export const createSearchResults = (container, api, companyId) => {
  let abort = new AbortController();

  /** @param {string} q @param {string | null} cursor @param {HTMLUListElement} list */
  const load = async (q, cursor, list) => {
    try {
      const page = await api.search(companyId, { q, cursor }, abort.signal);
      list.append(...page.items.map((hit) => createHit(hit, q)));
      const count = list.children.length;
      const note = count ? `${count}${page.hasMore ? "+" : ""} found` : "Nothing found.";
      container.replaceChildren(element("p", { class: "list-note", role: "status" }, note), list);
      if (page.nextCursor) container.append(button("More", () => load(q, page.nextCursor, list), "quiet-button"));
    } catch (error) {
      if (!isAbort(error)) container.replaceChildren(problem(describe(error), () => load(q, cursor, list)));
    }
  };

  return (query) => {
    abort.abort();
    abort = new AbortController();
    if (query) void load(query, null, element("ul"));
    else container.replaceChildren();
  };
};
