/**
 * Waits for the answers that this browser asked for, or began to read, when no tab shows their conversation any more.
 *
 * One tab waits for each answer, also while it is hidden: the one that asked, and if that is closed, another one. The
 * answers are known to the browser's storage, so those that are finished while no tab is open are found at the next
 * visit.
 *
 * @import { BrowserTabs } from "../base/browser-tabs.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { Message } from "../server/resources.js"
 */

import { createStoredSet } from "../base/stored-set.js";
import { ApiError } from "../server/api.js";

const MOST_ANSWERS = 50;
const PAUSE_SECONDS = 3;
/** How long an answer that was asked for may take to begin. */
const PATIENCE_MILLISECONDS = 60_000;
/** The answer is among so many newest messages, or no news any more. */
const NEWEST_MESSAGES = 20;

const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_SECONDS * 1000));

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
	/** Those that this tab waits for, or would if the other tab were closed. @type {Set<string>} */
	const watched = new Set();
	const { signal } = new AbortController();

	/** @param {string} answer */
	const wait = async (answer) => {
		const [id, trigger] = answer.split("/");
		const since = Date.now();
		let hasBegun = false;
		while (awaited.has(answer)) {
			await pause();
			// The tab that shows it follows it, and ends the wait.
			if (!awaited.has(answer) || (await isSeen(id))) continue;
			try {
				const conversation = await api.getConversation(id);
				if (conversation.activeRun?.triggerMessageId === trigger) {
					hasBegun = true;
					continue;
				}
				const { items } = await api.listMessages(id, { limit: NEWEST_MESSAGES });
				const found = items.find(({ replyTo }) => replyTo === trigger);
				const failure = items.find((message) => message.id === trigger)?.failure;
				const isLost = hasBegun || Date.now() - since > PATIENCE_MILLISECONDS;
				if (!found && !failure && (conversation.activeRun || !isLost)) continue;
				// It may have been opened meanwhile.
				if (!awaited.has(answer)) return;
				awaited.remove(answer);
				if (found || failure) onFinished(conversation, found ?? null);
			} catch (error) {
				// The server is away, or the session has ended: there is another time.
				if (error instanceof ApiError && error.status === 404) awaited.remove(answer);
			}
		}
	};

	/** @param {string} answer */
	const watch = async (answer) => {
		if (watched.has(answer)) return;
		watched.add(answer);
		await tabs.whenAlone(`waits for ${answer}`, signal, () => wait(answer));
		watched.delete(answer);
	};

	const watchAll = () => awaited.all().forEach((answer) => void watch(answer));
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
