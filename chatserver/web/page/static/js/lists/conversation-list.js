/**
 * The list of conversations: pinned ones first, then the newest.
 *
 * @import { ApiClient } from "../server/api.js"
 *
 * @typedef {ReturnType<typeof createConversationList>} ConversationList
 * @typedef {(button: HTMLElement, conversation: Api.Conversation) => void} OnOptions
 */

import { addressOf } from "../base/router.js";
import { titleOf } from "../server/resources.js";
import { element, placeInOrder } from "../ui/dom.js";
import { iconButton } from "../ui/icons.js";

/** The server's order. @param {Api.Conversation} a @param {Api.Conversation} b */
function compare(a, b) {
	const byPin = Number(b.pinnedAt !== null) - Number(a.pinnedAt !== null);
	return byPin || b.updatedAt.localeCompare(a.updatedAt) || b.id.localeCompare(a.id);
}

/** @param {string} id @param {(button: HTMLElement) => void} onOptions */
function createRow(id, onOptions) {
	const link = element("a", { class: "conversation-link", dir: "auto", id: `conversation-${id}`, href: addressOf(id) });
	const dot = element("span", { class: "dot" }, element("span", { class: "visually-hidden" }, "Answering"));
	const options = iconButton("Options", "more", () => onOptions(options));
	options.setAttribute("aria-describedby", link.id);
	options.setAttribute("aria-haspopup", "menu");
	return { element: element("li", { class: "conversation" }, link, dot, options), link, dot };
}

/** @param {HTMLElement} container @param {ApiClient} api @param {string} companyId @param {OnOptions} onOptions */
export const createConversationList = (container, api, companyId, onOptions) => {
	const pinnedTitle = element("h2", {}, "Pinned");
	const pinned = element("ul");
	const recentTitle = element("h2");
	const recent = element("ul");
	const note = element("p", { class: "list-note" });
	const end = element("div", { class: "edge" });
	container.replaceChildren(pinnedTitle, pinned, recentTitle, recent, note, end);
	/** @type {Map<string, Api.Conversation>} */
	const known = new Map();
	/** @type {Map<string, ReturnType<typeof createRow>>} */
	const rows = new Map();
	/** @type {string | null} */
	let cursor = null;
	let isLoaded = false;
	let isLoadingMore = false;
	let isArchive = false;
	/** @type {string | null} */
	let currentId = null;
	let abort = new AbortController();

	/** @param {Api.Conversation} conversation */
	const rowOf = (conversation) => {
		const { id } = conversation;
		const row = rows.get(id) ?? createRow(id, (button) => onOptions(button, known.get(id) ?? conversation));
		rows.set(id, row);
		const title = titleOf(conversation);
		if (row.link.textContent !== title) row.link.textContent = row.link.title = title;
		row.dot.hidden = conversation.activeRun === null;
		if (id === currentId) row.link.setAttribute("aria-current", "page");
		else row.link.removeAttribute("aria-current");
		return row.element;
	};

	const render = () => {
		const ordered = [...known.values()].sort(compare);
		const count = ordered.filter(({ pinnedAt }) => pinnedAt !== null).length;
		placeInOrder(pinned, ordered.slice(0, count).map(rowOf));
		placeInOrder(recent, ordered.slice(count).map(rowOf));
		pinnedTitle.hidden = count === 0;
		recentTitle.hidden = count === ordered.length || (count === 0 && !isArchive);
		recentTitle.textContent = isArchive ? "Archived" : "Recent";
		note.hidden = !isLoaded || ordered.length > 0;
		note.textContent = isArchive ? "Nothing is archived." : "Nothing here yet.";
		near.unobserve(end);
		near.observe(end);
	};

	/** @param {string | null} from a cursor */
	const fetchPage = (from) =>
		api.listConversations(companyId, { cursor: from, archived: isArchive ? "true" : "false" }, abort.signal);

	const loadMore = async () => {
		const from = cursor;
		if (!from || isLoadingMore) return;
		isLoadingMore = true;
		try {
			const page = await fetchPage(from);
			if (cursor !== from) return;
			for (const conversation of page.items) known.set(conversation.id, conversation);
			cursor = page.nextCursor;
			render();
		} catch {
			// The next scroll or poll tries again.
		} finally {
			isLoadingMore = false;
		}
	};

	const near = new IntersectionObserver((entries) => entries.at(-1)?.isIntersecting && void loadMore(), {
		root: container.parentElement,
		rootMargin: "0px 0px 400px",
	});

	/** Loads the first page anew. The pages below it stay, unless conversations between may be missing. */
	const refresh = async () => {
		const { signal } = abort;
		const page = await fetchPage(null);
		if (signal.aborted) return;
		const last = page.items.at(-1);
		const before = last && page.hasMore && known.get(last.id);
		// If the last conversation of the page was there before, those below it stay; otherwise some between may be missing.
		const joins = before && compare(before, last) === 0;
		for (const [id, conversation] of known) {
			// A conversation that belongs into the page's range but is not in the page is gone.
			if (!joins || compare(conversation, last) <= 0) known.delete(id);
		}
		if (known.size === 0) cursor = page.nextCursor;
		isLoaded = true;
		for (const conversation of page.items) known.set(conversation.id, conversation);
		render();
	};

	return {
		refresh,
		/** @param {boolean} archived shows the archived conversations, or the others */
		show(archived) {
			isArchive = archived;
			abort.abort();
			abort = new AbortController();
			known.clear();
			cursor = null;
			isLoaded = false;
			return refresh();
		},
		/** Shows a changed conversation, if it is listed. @param {Api.Conversation} conversation */
		update(conversation) {
			if (!known.has(conversation.id)) return;
			if ((conversation.archivedAt !== null) === isArchive) known.set(conversation.id, conversation);
			else known.delete(conversation.id);
			render();
		},
		/** @param {string} id */
		remove(id) {
			known.delete(id);
			render();
		},
		/** Marks the conversation that is open. @param {string | null} id */
		setCurrent(id) {
			currentId = id;
			render();
		},
	};
};
