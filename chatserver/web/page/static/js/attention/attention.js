/**
 * Which answers were finished while nobody looked: in all tabs the same conversations are marked until one of them is
 * opened, hidden tabs tell it by their title and icon, and one tab by a notification of the system.
 *
 * @import { BrowserTabs } from "../base/browser-tabs.js"
 * @import { ApiClient } from "../server/api.js"
 */

import { t } from "../base/language.js";
import { notify } from "../base/notifications.js";
import { createStoredSet } from "../base/stored-set.js";
import { effectiveContent, titleOf } from "../server/resources.js";
import { createAnswerWatch } from "./answer-watch.js";

const MOST_MARKS = 200;
const NOTIFIED_CHARACTERS = 200;
const VISIBLE = "is visible";

/** @param {string} conversationId */
const shows = (conversationId) => `shows ${conversationId}`;

/**
 * @param {ApiClient} api
 * @param {BrowserTabs} tabs
 * @param {object} handlers
 * @param {() => void} handlers.onChange other conversations are marked
 * @param {(count: number) => void} handlers.onMissed so many answers were finished while this tab was hidden
 * @param {(conversationId: string) => void} handlers.onOpen somebody wants to see this conversation
 */
export const createAttention = (api, tabs, { onChange, onMissed, onOpen }) => {
	const unseen = createStoredSet("unseen", MOST_MARKS);
	/** @type {string | null} */
	let openId = null;
	/** What was marked already when this tab was hidden. @type {Set<string> | null} */
	let before = null;
	let looking = new AbortController();

	const countMissed = () => {
		const known = before;
		onMissed(known ? [...unseen.all()].filter((id) => !known.has(id)).length : 0);
	};

	/** Tells the other tabs what is seen in this one. */
	const look = () => {
		looking.abort();
		looking = new AbortController();
		if (document.hidden) return;
		tabs.hold(VISIBLE, looking.signal);
		if (!openId) return;
		tabs.hold(shows(openId), looking.signal);
		unseen.remove(openId);
	};

	const onVisibilityChange = () => {
		before = document.hidden ? (before ?? unseen.all()) : null;
		look();
		countMissed();
		onChange(); // A tab that the browser had frozen heard of nothing.
	};

	unseen.listen(() => {
		// Another tab found the answer finished just when this one showed it.
		if (openId && !document.hidden && unseen.has(openId)) return unseen.remove(openId);
		countMissed();
		onChange();
	});
	document.addEventListener("visibilitychange", onVisibilityChange);

	const watch = createAnswerWatch(api, tabs, {
		isSeen: async (id) => (id === openId && !document.hidden) || tabs.isHeld(shows(id)),
		async onFinished(conversation, answer) {
			const { id } = conversation;
			unseen.add(id);
			if (!document.hidden || (await tabs.isHeld(VISIBLE))) return;
			notify(titleOf(conversation), {
				body: answer ? effectiveContent(answer).slice(0, NOTIFIED_CHARACTERS) : t("The answer failed."),
				about: id,
				icon: import.meta.resolve("../../icon.svg"),
				onClick: () => onOpen(id),
			});
		},
	});

	return {
		/** The ids of the marked conversations. */
		unseen: unseen.all,
		awaits: watch.awaits,
		follows: watch.follows,
		/** @param {string | null} id of the conversation that this tab shows now */
		setOpen(id) {
			openId = id;
			look();
		},
		start: onVisibilityChange,
	};
};
