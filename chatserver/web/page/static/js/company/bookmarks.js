/** The messages that the company wants to find again. */

/** Of more than these a message does not show that it is bookmarked; setting the bookmark again does no harm. */
const MOST_BOOKMARKS = 1000;

/** @type {CreateBookmarks} */
export const createBookmarks = (api, companyId, tabs, onChange) => {
	/** The ids of the messages. @type {Set<string>} */
	const ids = new Set();

	/** @param {string} id @param {boolean} isSet */
	const note = (id, isSet) => {
		if (isSet) ids.add(id);
		else ids.delete(id);
		onChange();
	};

	tabs.listen((news) => news.kind === "bookmark" && note(news.messageId, news.isSet));

	return {
		has: (id) => ids.has(id),
		async load() {
			/** @type {string | null} */
			let cursor = null;
			do {
				/** @type {Page<Bookmark>} */
				const page = await api.listBookmarks(companyId, { limit: 100, cursor });
				for (const { message } of page.items) ids.add(message.id);
				cursor = page.nextCursor;
			} while (cursor && ids.size < MOST_BOOKMARKS);
			onChange();
		},
		async toggle({ id, conversationId }) {
			const isSet = !ids.has(id);
			await api.setBookmark(conversationId, id, isSet);
			note(id, isSet);
			tabs.tell({ kind: "bookmark", messageId: id, isSet });
		},
	};
};
