/** The left side: conversations, archived ones, bookmarks, or what a search found. */

import { createConversationList } from "./conversation-list.js";
import { icon } from "../ui/icons.js";
import { loadResultList } from "../ui/on-demand.js";
import { effectiveContent } from "../message/message-view.js";

/** So long a person may pause while typing before the search is made. */
const PAUSE_MILLISECONDS = 200;
const SNIPPET_CHARACTERS = 200;

/** @param {HTMLElement} toggle */
const isPressed = (toggle) => toggle.getAttribute("aria-pressed") === "true";

/** @type {CreateSidebar} */
export const createSidebar = (parts, api, companyId, { onOptions, onNew, onError }) => {
	const { conversations, found, search, archived, bookmarked, newConversation } = parts;
	const list = createConversationList(conversations, api, companyId, onOptions);
	/** @type {ReturnType<CreateResultList> | undefined} */
	let showFound;
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
		if (source() && !showFound) {
			const { createResultList } = await loadResultList();
			showFound ??= createResultList(found);
		}
		conversations.hidden = source() !== null;
		showFound?.(source());
	};

	const tryShow = () => void show().catch(onError);

	/** @param {HTMLElement} toggle @param {HTMLElement} other cannot be on at the same time */
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
		onBookmarks() {
			if (isPressed(bookmarked) && !search.value) tryShow();
		},
	};
};
