/**
 * The list of conversations: pinned ones first, then the newest, by the day of their last change.
 *
 * @import { ApiClient } from "../server/api.js"
 * @import { Parents } from "./parents.js"
 *
 * @typedef {ReturnType<typeof createConversationList>} ConversationList
 * @typedef {(button: HTMLElement, conversation: Api.Conversation) => void} OnOptions
 */

import { t } from "../base/language.js";
import { repeatWhileVisible } from "../base/repeat-while-visible.js";
import { element, keepFocus, placeInOrder } from "../ui/dom.js";
import { createRow } from "./conversation-row.js";
import { groupByDate } from "./date-groups.js";

/** How late a new day may be noticed while nothing else happens. */
const DAY_CHECK_SECONDS = 30;

/** @param {string} a @param {string} b */
const later = (a, b) => (a < b ? 1 : a > b ? -1 : 0);

/** The server's order. @param {Api.Conversation} a @param {Api.Conversation} b */
function compare(a, b) {
	const byPin = Number(b.pinnedAt !== null) - Number(a.pinnedAt !== null);
	return byPin || later(a.updatedAt, b.updatedAt) || later(a.id, b.id);
}

/** @param {"h2" | "h3"} level */
function createGroup(level) {
	const title = element(level);
	const list = element("ul");
	return { element: element("section", {}, title, list), title, list };
}

/**
 * @param {HTMLElement} container
 * @param {ApiClient} api
 * @param {string} companyId
 * @param {object} context
 * @param {Parents} context.parents
 * @param {() => ReadonlySet<string>} context.unseen ids of conversations with an answer that nobody has seen
 * @param {OnOptions} context.onOptions
 */
export const createConversationList = (container, api, companyId, { parents, unseen, onOptions }) => {
	const archiveTitle = element("h2", { class: "list-title" }, t("Archived"));
	const groupsBox = element("div");
	const note = element("p", { class: "list-note" });
	const end = element("div", { class: "edge" });
	container.replaceChildren(archiveTitle, groupsBox, note, end);
	/** @type {Map<string, Api.Conversation>} */
	const known = new Map();
	/** @type {Map<string, ReturnType<typeof createRow>>} */
	const rows = new Map();
	/** By their names. @type {Map<string, ReturnType<typeof createGroup>>} */
	const groups = new Map();
	/** @type {string | null} */
	let cursor = null;
	let isLoaded = false;
	let isLoadingMore = false;
	let isArchive = false;
	/** @type {string | null} */
	let currentId = null;
	let abort = new AbortController();
	/** The day for which the groups were made. */
	let day = "";

	/** @param {Api.Conversation} conversation @param {ReadonlySet<string>} marked */
	const rowOf = (conversation, marked) => {
		const { id } = conversation;
		/** @param {HTMLElement} button */
		const openMenu = (button) => onOptions(button, known.get(id) ?? conversation);
		const row = rows.get(id) ?? createRow(conversation, parents, openMenu);
		rows.set(id, row);
		row.update(conversation, { isOpen: id === currentId, isUnseen: marked.has(id) });
		return row.element;
	};

	/** @param {{ name: string, items: Api.Conversation[] }} group @param {ReadonlySet<string>} marked */
	const groupOf = ({ name, items }, marked) => {
		const key = `${isArchive} ${name}`;
		const group = groups.get(key) ?? createGroup(isArchive ? "h3" : "h2");
		groups.set(key, group);
		group.title.textContent = name;
		placeInOrder(group.list, items.map((item) => rowOf(item, marked)));
		return group.element;
	};

	const render = () => {
		const now = new Date();
		const marked = unseen();
		const ordered = [...known.values()].sort(compare);
		const count = ordered.filter(({ pinnedAt }) => pinnedAt !== null).length;
		const dated = groupByDate(ordered.slice(count), ({ updatedAt }) => updatedAt, now);
		const all = count ? [{ name: t("Pinned"), items: ordered.slice(0, count) }, ...dated] : dated;
		day = now.toDateString();
		// A row may go from one group to another.
		keepFocus(container, () => placeInOrder(groupsBox, all.map((group) => groupOf(group, marked))));
		for (const id of rows.keys()) if (!known.has(id)) rows.delete(id);
		archiveTitle.hidden = !isArchive;
		note.hidden = !isLoaded || ordered.length > 0;
		note.textContent = isArchive ? t("Nothing is archived.") : t("Nothing here yet.");
		near.unobserve(end);
		near.observe(end);
	};

	/** @param {Api.Conversation} conversation */
	const take = (conversation) => {
		known.set(conversation.id, conversation);
		parents.note(conversation);
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
			page.items.forEach(take);
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
		page.items.forEach(take);
		render();
	};

	repeatWhileVisible(DAY_CHECK_SECONDS, async () => {
		if (day && day !== new Date().toDateString()) render();
	});

	return {
		refresh,
		/** Shows the marks anew. */
		render,
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
			if ((conversation.archivedAt !== null) === isArchive) take(conversation);
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
