/**
 * A list of messages from all conversations, in place of the list of conversations: search results or bookmarks.
 *
 * @import { Page } from "../server/api.js"
 *
 * @typedef {(cursor: string | null, signal: AbortSignal) => Promise<Page<Api.SearchHit>>} ResultSource
 */

import { addressOf } from "../base/router.js";
import { titleOf } from "../server/resources.js";
import { button, element } from "../ui/dom.js";
import { describe, problem } from "../ui/feedback.js";

/** @param {Api.SearchHit} hit */
function createRow({ message, conversation, snippet }) {
	const id = `found-${message?.id ?? conversation.id}`;
	const parts = snippet.map(({ text, hit }) => (hit ? element("mark", {}, text) : text));
	const text = element("p", { id, class: "snippet", dir: "auto" }, ...parts);
	const href = addressOf(conversation.id, message?.id);
	const link = { class: "conversation-link", dir: "auto", href, "aria-describedby": id };
	return element("li", { class: "conversation found" }, element("a", link, titleOf(conversation)), text);
}

/** Returns a function that shows the list of a source; null: no list. @param {HTMLElement} container */
export const createResultList = (container) => {
	let abort = new AbortController();

	/** @param {ResultSource} source @param {string | null} cursor @param {HTMLUListElement} list */
	const load = async (source, cursor, list) => {
		// A second press aborts the first request, so a page is not added twice.
		abort.abort();
		const { signal } = (abort = new AbortController());
		try {
			const page = await source(cursor, signal);
			if (signal.aborted) return;
			const rows = page.items.map(createRow);
			list.append(...rows);
			const count = list.children.length;
			const note = count ? `${count}${page.hasMore ? "+" : ""} found` : "Nothing found.";
			container.replaceChildren(element("p", { class: "list-note", role: "status" }, note), list);
			if (cursor) rows[0]?.querySelector("a")?.focus();
			if (page.hasMore) container.append(button("More", () => load(source, page.nextCursor, list), "quiet-button"));
		} catch (error) {
			if (!signal.aborted) container.replaceChildren(problem(describe(error), () => load(source, cursor, list)));
		}
	};

	return (/** @type {ResultSource | null} */ source) => {
		abort.abort();
		container.hidden = source === null;
		if (source) void load(source, null, element("ul"));
		else container.replaceChildren();
	};
};
