/**
 * Messages of many conversations, in place of the list of conversations: what a search found, or bookmarks. The hits of
 * one conversation stand below its title.
 *
 * @import { Me } from "../account/me.js"
 * @import { Page } from "../server/api.js"
 *
 * @typedef {object} ResultSource
 * @property {string} name the heading
 * @property {(cursor: string | null, signal: AbortSignal) => Promise<Page<Api.SearchHit>>} fetch
 * @property {(hits: number, isAll: boolean, conversations: number) => string} count says how much was found; `isAll`:
 *   there is no more
 * @property {string} none says that there is nothing, in two words
 * @property {() => (Node | string)[]} nothing says that there is nothing, and where it was looked for
 */

import { formatNumber, plural, t } from "../base/language.js";
import { addressOf } from "../base/router.js";
import { titleOf } from "../server/resources.js";
import { button, element } from "../ui/dom.js";
import { describe, problem } from "../ui/feedback.js";
import { shortDay } from "../ui/time.js";

/** The server may find nothing in what it looked through, and have more: so often it is asked to go on. */
const MOST_EMPTY_PAGES = 20;

/** @param {Api.SearchHit["snippet"]} snippet */
const marked = (snippet) => snippet.map(({ text, hit }) => (hit ? element("mark", {}, text) : text));

/** @param {string} time */
const dayElement = (time) => element("time", { datetime: time, class: "found-day" }, shortDay(time));

/** @param {Api.Conversation} conversation @param {Me} me */
function createGroup(conversation, me) {
	const link = element("a", { class: "conversation-link", dir: "auto", href: addressOf(conversation.id) });
	const count = element("span", { class: "found-count", hidden: true });
	const inWords = element("span", { class: "visually-hidden" });
	const inDigits = element("span", { "aria-hidden": "true" });
	count.append(inDigits, inWords);
	const tag = element("span", { class: "tag", hidden: !conversation.archivedAt }, t("Archived"));
	const head = element("h3", { class: "found-head" }, link, tag, count);
	const list = element("ul");
	const group = element("section", { class: "found" }, head, list);
	link.textContent = link.title = titleOf(conversation);

	return {
		element: group,
		/** Returns the link of the hit. @param {Api.SearchHit} hit */
		add({ message, snippet }) {
			if (!message) {
				link.replaceChildren(...marked(snippet));
				head.append(dayElement(conversation.updatedAt));
				return link;
			}
			const text = element("span", { class: "snippet", dir: "auto" }, ...marked(snippet));
			const hit = element("a", { href: addressOf(conversation.id, message.id) }, text);
			const name = me.otherName(message);
			const by = name ? [element("span", { class: "found-day" }, element("bdi", {}, name), " · ")] : [];
			list.append(element("li", { class: "conversation" }, hit, ...by, dayElement(message.createdAt)));
			const hits = list.children.length;
			count.hidden = hits < 2;
			inDigits.textContent = formatNumber(hits);
			count.title = inWords.textContent = plural(hits, { one: "{count} message", other: "{count} messages" });
			return hit;
		},
	};
}

/** Returns a function that shows the list of a source; null: no list. @param {HTMLElement} container @param {Me} me */
export const createResultList = (container, me) => {
	let abort = new AbortController();
	const heading = element("h2");
	const status = element("p", { class: "list-note", role: "status" });
	const nothing = element("p", { class: "list-note", hidden: true });
	const body = element("div");
	const foot = element("div");
	container.replaceChildren(element("div", { class: "results-head" }, heading, status), nothing, body, foot);
	/** By the ids of the conversations. @type {Map<string, ReturnType<typeof createGroup>>} */
	const groups = new Map();
	let count = 0;

	/** @param {Api.SearchHit} hit */
	const add = (hit) => {
		const group = groups.get(hit.conversation.id) ?? createGroup(hit.conversation, me);
		if (!groups.has(hit.conversation.id)) body.append(group.element);
		groups.set(hit.conversation.id, group);
		count += 1;
		return group.add(hit);
	};

	/** @param {ResultSource} source @param {string | null} from a cursor */
	const load = async (source, from) => {
		// A second press aborts the first request, so a page is not added twice.
		abort.abort();
		const { signal } = (abort = new AbortController());
		let cursor = from;
		try {
			let page = await source.fetch(cursor, signal);
			for (let tries = 1; page.items.length === 0 && page.hasMore && tries < MOST_EMPTY_PAGES; tries += 1) {
				cursor = page.nextCursor;
				page = await source.fetch(cursor, signal);
			}
			if (signal.aborted) return;
			if (from === null) clear();
			const links = page.items.map(add);
			heading.textContent = source.name;
			const isEmpty = !count && !page.hasMore;
			status.textContent = isEmpty ? source.none : source.count(count, !page.hasMore, groups.size);
			nothing.hidden = !isEmpty;
			if (isEmpty) nothing.replaceChildren(...source.nothing());
			foot.replaceChildren();
			if (page.hasMore) foot.append(button(t("More"), () => load(source, page.nextCursor), "quiet-button"));
			if (from) links[0]?.focus();
		} catch (error) {
			if (signal.aborted) return;
			if (from === null) clear();
			heading.textContent = source.name;
			foot.replaceChildren(problem(describe(error), () => load(source, cursor)));
		}
	};

	const clear = () => {
		count = 0;
		groups.clear();
		body.replaceChildren();
		foot.replaceChildren();
		status.replaceChildren();
		nothing.hidden = true;
	};

	return (/** @type {ResultSource | null} */ source) => {
		abort.abort();
		container.hidden = source === null;
		if (source) void load(source, null);
		else clear();
	};
};
