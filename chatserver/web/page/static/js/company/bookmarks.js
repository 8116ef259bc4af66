/**
 * The messages that the company wants to find again.
 *
 * @import { BrowserTabs } from "../base/browser-tabs.js"
 * @import { ApiClient } from "../server/api.js"
 *
 * @typedef {ReturnType<typeof createBookmarks>} Bookmarks
 */

/** Messages beyond these do not show their bookmark; setting it again does no harm. */
const MOST_BOOKMARKS = 1000;

/** @param {ApiClient} api @param {string} companyId @param {BrowserTabs} tabs @param {() => void} onChange */
export const createBookmarks = (api, companyId, tabs, onChange) => {
	/** Message ids. @type {Set<string>} */
	const ids = new Set();

	/** @param {string} id @param {boolean} isSet */
	const note = (id, isSet) => {
		if (isSet) ids.add(id);
		else ids.delete(id);
		onChange();
	};

	tabs.listen((news) => news.kind === "bookmark" && note(news.messageId, news.isSet));

	return {
		/** @param {string} id of a message */
		has: (id) => ids.has(id),
		async load() {
			/** @type {string | null} */
			let cursor = null;
			do {
				/** @type {Api.BookmarkPage} */
				const page = await api.listBookmarks(companyId, { limit: 100, cursor });
				for (const { message } of page.items) ids.add(message.id);
				cursor = page.nextCursor;
			} while (cursor && ids.size < MOST_BOOKMARKS);
			onChange();
		},
		/** @param {{ id: string, conversationId: string }} message */
		async toggle({ id, conversationId }) {
			const isSet = !ids.has(id);
			await api.setBookmark(conversationId, id, isSet);
			note(id, isSet);
			tabs.tell({ kind: "bookmark", messageId: id, isSet });
		},
	};
};
