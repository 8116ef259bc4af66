/**
 * The sidebar, which shows the conversations, the archived ones, the bookmarks, or the results of a search.
 *
 * @import { Me } from "../account/me.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { OnOptions } from "./conversation-list.js"
 * @import { Parents } from "./parents.js"
 * @import { ResultSource, createResultList } from "./result-list.js"
 */

import { formatNumber, plural, t } from "../base/language.js";
import { effectiveContent } from "../server/resources.js";
import { button } from "../ui/dom.js";
import { icon } from "../ui/icons.js";
import { onDemand } from "../ui/on-demand.js";
import { createConversationList } from "./conversation-list.js";
import { createSidebarWidth } from "./sidebar-width.js";

const loadResultList = onDemand(() => import("./result-list.js"));

/** A search begins when a person has stopped typing for this long. */
const PAUSE_MILLISECONDS = 200;
const SNIPPET_CHARACTERS = 200;

/** @param {HTMLElement} toggle */
const isPressed = (toggle) => toggle.getAttribute("aria-pressed") === "true";

/** @param {number} count of conversations */
const inConversations = (count) =>
	plural(count, { one: "in {count} conversation", other: "in {count} conversations" });

/** @param {number} count @param {boolean} isAll */
const orMore = (count, isAll) => `${formatNumber(count)}${isAll ? "" : "+"}`;

/**
 * @param {PageParts} parts
 * @param {ApiClient} api
 * @param {string} companyId
 * @param {object} context
 * @param {Me} context.me
 * @param {Parents} context.parents
 * @param {() => ReadonlySet<string>} context.unseen ids of conversations with an answer that nobody has seen
 * @param {OnOptions} context.onOptions
 * @param {() => void} context.onNew
 * @param {(error: unknown) => void} context.onError
 */
export const createSidebar = (parts, api, companyId, { me, onNew, onError, ...context }) => {
	const { conversations, found, search, archived, bookmarked, manageAgents, newConversation } = parts;
	const list = createConversationList(conversations, api, companyId, context);
	/** @type {ReturnType<typeof createResultList> | undefined} */
	let showResults;
	let timer = 0;

	/** @param {boolean} inArchive @returns {ResultSource} */
	const searchOf = (inArchive) => {
		const q = search.value.trim();
		return {
			name: inArchive ? t("Found in the archive") : t("Found"),
			fetch: (cursor, signal) =>
				api.search(companyId, { q, cursor, archived: inArchive ? "true" : "all" }, signal),
			count: (hits, isAll, conversations) =>
				plural(hits, { one: "{count} result {where}", other: "{count} results {where}" }, {
					count: orMore(hits, isAll),
					where: inConversations(conversations),
				}),
			none: t("Nothing found"),
			nothing() {
				if (!inArchive) return [t("“{query}” is in no conversation, archived ones included.", { query: q })];
				const everywhere = button(t("Search all conversations"), () => showResults?.(searchOf(false)));
				return [t("“{query}” is in no archived conversation. The others were not searched.", { query: q }), everywhere];
			},
		};
	};

	/** @type {ResultSource} */
	const bookmarks = {
		name: t("Bookmarks"),
		async fetch(cursor, signal) {
			const page = await api.listBookmarks(companyId, { cursor }, signal);
			const items = page.items.map(({ message, conversation }) => {
				const text = effectiveContent(message).slice(0, SNIPPET_CHARACTERS);
				return { message, conversation, snippet: [{ text, hit: false }] };
			});
			return { ...page, items };
		},
		count: (hits, isAll, conversations) =>
			plural(hits, { one: "{count} bookmark {where}", other: "{count} bookmarks {where}" }, {
				count: orMore(hits, isAll),
				where: inConversations(conversations),
			}),
		none: t("No bookmarks"),
		nothing: () => [t("Bookmarks of messages are listed here. Each message has a button for it.")],
	};

	const source = () => {
		if (search.value.trim()) return searchOf(isPressed(archived));
		return isPressed(bookmarked) ? bookmarks : null;
	};

	const show = async () => {
		clearTimeout(timer);
		if (source() && !showResults) {
			const { createResultList } = await loadResultList();
			showResults ??= createResultList(found, me);
		}
		const now = source();
		conversations.hidden = now !== null;
		showResults?.(now);
	};

	const tryShow = () => void show().catch(onError);

	/** @param {HTMLElement} toggle @param {HTMLElement} other is switched off */
	const flip = (toggle, other) => {
		toggle.setAttribute("aria-pressed", `${!isPressed(toggle)}`);
		other.setAttribute("aria-pressed", "false");
		search.value = "";
		search.placeholder = isPressed(archived) ? t("Search the archive") : t("Search");
		tryShow();
		list.show(isPressed(archived)).catch(onError);
	};

	createSidebarWidth(parts);
	newConversation.hidden = !me.canWrite;
	manageAgents.hidden = !me.canManage;
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
