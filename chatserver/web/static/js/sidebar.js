/** The left side: conversations, or what a search among them found. */

import { createConversationList } from "./conversation-list.js";
import { icon } from "./icons.js";
import { createSearchResults } from "./search-results.js";

/** So long a person may pause while typing before the search is made. */
const PAUSE_MILLISECONDS = 200;

/** @type {CreateSidebar} */
export const createSidebar = (parts, api, companyId, { onOptions, onNew, onError }) => {
  const { conversations, results, search, archived, newConversation } = parts;
  const list = createConversationList(conversations, api, companyId, onOptions);
  const showResults = createSearchResults(results, api, companyId);
  let timer = 0;

  const searchNow = () => {
    const query = search.value.trim();
    results.hidden = !query;
    conversations.hidden = Boolean(query);
    showResults(query);
  };

  newConversation.prepend(icon("plus"));
  newConversation.addEventListener("click", onNew);
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(searchNow, search.value ? PAUSE_MILLISECONDS : 0);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !search.value) return;
    event.stopPropagation();
    search.value = "";
    searchNow();
  });
  archived.addEventListener("click", () => {
    const isArchive = archived.getAttribute("aria-pressed") !== "true";
    archived.setAttribute("aria-pressed", `${isArchive}`);
    list.show(isArchive).catch(onError);
  });
  return list;
};
