/**
 * The sidebar, which shows the conversations, the archived ones, the bookmarks, or the results of a search.
 *
 * @import { ApiClient } from "../server/api.js"
 * @import { OnOptions } from "./conversation-list.js"
 * @import { ResultSource, createResultList } from "./result-list.js"
 */

import { effectiveContent } from "../server/resources.js";
import { icon } from "../ui/icons.js";
import { onDemand } from "../ui/on-demand.js";
import { createConversationList } from "./conversation-list.js";

const loadResultList = onDemand(() => import("./result-list.js"));

/** A search begins when a person has stopped typing for this long. */
const PAUSE_MILLISECONDS = 200;
const SNIPPET_CHARACTERS = 200;

/** @param {HTMLElement} toggle */
const isPressed = (toggle) => toggle.getAttribute("aria-pressed") === "true";

/**
 * @param {PageParts} parts
 * @param {ApiClient} api
 * @param {string} companyId
 * @param {{ onOptions: OnOptions, onNew: () => void, onError: (error: unknown) => void }} handlers
 */
export const createSidebar = (parts, api, companyId, { onOptions, onNew, onError }) => {
	const { conversations, found, search, archived, bookmarked, newConversation } = parts;
	const list = createConversationList(conversations, api, companyId, onOptions);
	/** @type {ReturnType<typeof createResultList> | undefined} */
	let showResults;
	let timer = 0;

	/** @type {ResultSource} */
	const fromSearch = (cursor, signal) => api.search(companyId, { q: search.value.trim(), cursor }, signal);

	/** @type {ResultSource} */
	const fromBookmarks = async (cursor, signal) => {
		const page = await api.listBookmarks(companyId, { cursor }, signal);
		const items = page.items.map(({ message, conversation }) => {
			const text = effectiveContent(message).slice(0, SNIPPET_CHARACTERS);
			return { message, conversation, snippet: [{ text, hit: false }] };
		});
		return { ...page, items };
	};

	const source = () => {
		if (search.value.trim()) return fromSearch;
		return isPressed(bookmarked) ? fromBookmarks : null;
	};

	const show = async () => {
		clearTimeout(timer);
		if (source() && !showResults) {
			const { createResultList } = await loadResultList();
			showResults ??= createResultList(found);
		}
		conversations.hidden = source() !== null;
		showResults?.(source());
	};

	const tryShow = () => void show().catch(onError);

	/** @param {HTMLElement} toggle @param {HTMLElement} other is switched off */
	const flip = (toggle, other) => {
		toggle.setAttribute("aria-pressed", `${!isPressed(toggle)}`);
		other.setAttribute("aria-pressed", "false");
		search.value = "";
		tryShow();
		list.show(isPressed(archived)).catch(onError);
	};

	newConversation.prepend(icon("plus"));
	newConversation.addEventListener("click", onNew);
	search.addEventListener("input", () => {
		clearTimeout(timer);
		timer = setTimeout(tryShow, search.value ? PAUSE_MILLISECONDS : 0);
	});
	search.addEventListener("keydown", (event) => {
		if (event.key !== "Escape" || !search.value) return;
		event.stopPropagation();
		search.value = "";
		tryShow();
	});
	archived.addEventListener("click", () => flip(archived, bookmarked));
	bookmarked.addEventListener("click", () => flip(bookmarked, archived));

	return {
		list,
		/** A bookmark was set or removed. */
		onBookmarks() {
			if (isPressed(bookmarked) && !search.value) tryShow();
		},
	};
};
