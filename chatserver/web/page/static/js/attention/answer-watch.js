/**
 * Waits for the answers that this browser asked for, or began to read, when no tab shows their conversation any more.
 *
 * For each conversation one tab waits, also while it is hidden: the one that asked first, or another one once that is
 * closed. The answers are known to the browser's storage, so those that are finished while no tab is open are found at
 * the next visit.
 *
 * @import { BrowserTabs } from "../base/browser-tabs.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { Message } from "../server/resources.js"
 *
 * @typedef {{ since: number, hasBegun: boolean }} Wait `since`: when the tab looked first, in milliseconds.
 */

import { createStoredSet } from "../base/stored-set.js";
import { ApiError } from "../server/api.js";

const MOST_ANSWERS = 50;
const PAUSE_SECONDS = 3;
/** The pause doubles up to this while requests fail: the server is away, or the session has ended. */
const LONGEST_PAUSE_SECONDS = 60;
/** How long an answer that was asked for may take to begin. */
const PATIENCE_MILLISECONDS = 60_000;
/** The answer is among so many newest messages, or no news any more. */
const NEWEST_MESSAGES = 20;

/** @param {number} seconds */
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/**
 * @param {ApiClient} api
 * @param {BrowserTabs} tabs
 * @param {object} handlers
 * @param {(conversationId: string) => Promise<boolean>} handlers.isSeen whether a tab shows the conversation
 * @param {(conversation: Api.Conversation, answer: Message | null) => void} handlers.onFinished null: it failed
 */
export const createAnswerWatch = (api, tabs, { isSeen, onFinished }) => {
	/** "conversation/trigger" */
	const awaited = createStoredSet("awaited", MOST_ANSWERS);
	/** Ids of the conversations for which this tab waits, or would if the other tab were closed. @type {Set<string>} */
	const watched = new Set();
	const { signal } = new AbortController();

	/** The awaited answers of a conversation, by their triggers. @param {string} id */
	const triggersOf = (id) => [...awaited.all()].flatMap((answer) => {
		const [conversationId, trigger] = answer.split("/");
		return conversationId === id ? trigger : [];
	});

	/**
	 * Looks once whether answers of a conversation are finished.
	 *
	 * @param {string} id
	 * @param {Map<string, Wait>} waits by trigger
	 */
	const look = async (id, waits) => {
		const triggers = triggersOf(id);
		for (const trigger of waits.keys()) if (!triggers.includes(trigger)) waits.delete(trigger);
		const conversation = await api.getConversation(id);
		const running = conversation.activeRun?.triggerMessageId;
		/** @type {Message[] | null} */
		let newest = null;
		for (const trigger of triggers) {
			const wait = waits.get(trigger) ?? { since: Date.now(), hasBegun: false };
			waits.set(trigger, wait);
			if (trigger === running) wait.hasBegun = true;
			if (trigger === running) continue;
			newest ??= (await api.listMessages(id, { limit: NEWEST_MESSAGES })).items;
			const found = newest.find(({ replyTo }) => replyTo === trigger);
			const failure = newest.find((message) => message.id === trigger)?.failure;
			const isLost = wait.hasBegun || Date.now() - wait.since > PATIENCE_MILLISECONDS;
			if (!found && !failure && (running || !isLost)) continue;
			// It may have been opened meanwhile.
			if (!awaited.has(`${id}/${trigger}`)) continue;
			awaited.remove(`${id}/${trigger}`);
			if (found || failure) onFinished(conversation, found ?? null);
		}
	};

	/** @param {string} id */
	const wait = async (id) => {
		/** @type {Map<string, Wait>} */
		const waits = new Map();
		let seconds = PAUSE_SECONDS;
		while (triggersOf(id).length) {
			await pause(seconds);
			// The tab that shows it follows it, and ends the wait.
			if (!triggersOf(id).length || (await isSeen(id))) continue;
			try {
				await look(id, waits);
				seconds = PAUSE_SECONDS;
			} catch (error) {
				seconds = Math.min(2 * seconds, LONGEST_PAUSE_SECONDS);
				const isGone = error instanceof ApiError && error.status === 404;
				if (isGone) triggersOf(id).forEach((trigger) => awaited.remove(`${id}/${trigger}`));
			}
		}
	};

	/** @param {string} id */
	const watch = async (id) => {
		if (watched.has(id)) return;
		watched.add(id);
		await tabs.whenAlone(`waits for ${id}`, signal, () => wait(id));
		watched.delete(id);
		if (triggersOf(id).length) void watch(id); // Another answer came at the end of the wait.
	};

	const watchAll = () => awaited.all().forEach((answer) => void watch(answer.split("/")[0]));
	awaited.listen(watchAll);
	watchAll();

	return {
		/** This tab asked for an answer that it does not follow. @param {string} id @param {string | null} trigger */
		awaits: (id, trigger) => trigger && awaited.add(`${id}/${trigger}`),
		/**
		 * This tab follows the answers to these messages, and to no others of the conversation.
		 *
		 * @param {string} id of the conversation
		 * @param {readonly (string | null)[]} triggers
		 */
		follows(id, triggers) {
			const now = triggers.filter((trigger) => trigger !== null).map((trigger) => `${id}/${trigger}`);
			now.forEach(awaited.add);
			// Nobody saw the end of an answer in a hidden tab.
			const others = document.hidden ? [] : [...awaited.all()].filter((answer) => answer.startsWith(`${id}/`));
			others.filter((answer) => !now.includes(answer)).forEach(awaited.remove);
		},
	};
};
