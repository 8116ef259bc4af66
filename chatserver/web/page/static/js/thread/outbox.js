/**
 * Messages on their way to the server. They are shown at once, and kept until they are stored, over a reload too. Each
 * try sends the same `Idempotency-Key`, so a message is stored only once.
 *
 * @import { ApiClient } from "../server/api.js"
 * @import { Message } from "../server/resources.js"
 * @import { MessageView } from "../message/message-view.js"
 * @import { Composer } from "./composer.js"
 *
 * @typedef {object} UnsentMessage
 * @property {string} content
 * @property {string | null} agentId the agent that shall answer, if not the conversation's
 * @property {string} key the idempotency key of all tries
 * @property {string | null} after the id of the last message when this one was sent
 */

import { t } from "../base/language.js";
import { forThisTab, recall, remember } from "../base/storage.js";
import { idempotencyKey } from "../server/api.js";
import { button } from "../ui/dom.js";
import { describe, problem } from "../ui/feedback.js";

/** @param {string} storageKey @returns {UnsentMessage[]} */
function unsentIn(storageKey) {
	try {
		/** @type {UnsentMessage[]} */
		const messages = JSON.parse(recall(storageKey, forThisTab));
		return messages.filter(({ content, key }) => typeof content + typeof key === "stringstring");
	} catch {
		return []; // There are none, or another program wrote there.
	}
}

/** @param {string} storageKey @param {string} key of the message to remove @param {UnsentMessage[]} instead */
function exchange(storageKey, key, ...instead) {
	const messages = [...unsentIn(storageKey).filter((unsent) => unsent.key !== key), ...instead];
	remember(storageKey, messages.length ? JSON.stringify(messages) : "", forThisTab);
}

/**
 * @param {object} context
 * @param {ApiClient} context.api
 * @param {string} context.companyId
 * @param {Composer} context.composer
 * @param {Set<string>} context.sending the keys of the messages that this tab is sending, from all threads
 * @param {object} thread
 * @param {() => string | null} thread.id null while there is no conversation
 * @param {() => Promise<string>} thread.conversationId the same, after the conversation was created if necessary
 * @param {() => string | null} thread.newest the id of the last message
 * @param {(unsent: UnsentMessage) => boolean} thread.isStored a guess from what was loaded: only the key tells for sure
 * @param {() => MessageView} thread.createView
 * @param {() => void} thread.onChange something else is to be shown
 * @param {(message: Message, view: MessageView) => void} thread.onSent the message is stored; `view` showed it so far
 */
export const createOutbox = ({ api, companyId, composer, sending }, thread) => {
	/** The storage key of a conversation's messages. @param {string | null} id null: a new conversation */
	const keyOf = (id) => `unsent ${id ?? companyId}`;
	/** @type {{ unsent: UnsentMessage, view: MessageView, isSending: boolean, alert: HTMLElement | null }[]} */
	let entries = [];
	/** One message is sent after the other, so that they are stored in the order of writing. */
	let delivery = Promise.resolve();

	/** @param {typeof entries[0]} entry */
	const remove = (entry) => {
		entries = entries.filter((other) => other !== entry);
		exchange(keyOf(thread.id()), entry.unsent.key);
	};

	/** @param {typeof entries[0]} entry */
	const deliver = (entry) => {
		entry.isSending = true;
		entry.alert = null;
		thread.onChange();
		sending.add(entry.unsent.key);
		const now = () => deliverNow(entry);
		delivery = delivery.then(now, now);
	};

	/** @param {typeof entries[0]} entry */
	const deliverNow = async (entry) => {
		const { content, agentId, key } = entry.unsent;
		/** @type {Message | undefined} */
		let message;
		try {
			message = await api.addMessage(await thread.conversationId(), agentId ? { content, agentId } : { content }, key);
		} catch (error) {
			const retry = () => {
				composer.focus();
				deliver(entry);
			};
			entry.alert = problem(t("Not sent. {reason}", { reason: describe(error) }), retry);
			const takeBack = () => {
				remove(entry);
				composer.giveBack(content);
				thread.onChange();
			};
			entry.alert.append(button(t("Take back"), takeBack));
		}
		sending.delete(key);
		entry.isSending = false;
		if (!message) return thread.onChange();
		remove(entry);
		thread.onSent(message, entry.view);
	};

	/** @param {UnsentMessage} unsent */
	const add = (unsent) => {
		const entry = { unsent, view: thread.createView(), isSending: true, alert: null };
		entry.view.showPending(unsent.content);
		entries.push(entry);
		exchange(keyOf(thread.id()), unsent.key, unsent);
		deliver(entry);
	};

	return {
		isSending: () => entries.some(({ isSending }) => isSending),
		/** @param {string} content @param {string | null} agentId */
		send: (content, agentId) => add({ content, agentId, key: idempotencyKey(), after: thread.newest() }),
		/** Sends the messages that were not stored when the conversation was left or the tab reloaded. */
		restore() {
			// Those that this thread shows came along when their conversation was created. A message for which another
			// thread of this tab is creating a conversation would create a second one.
			const isFree = (/** @type {UnsentMessage} */ { key }) =>
				!entries.some(({ unsent }) => unsent.key === key) && (thread.id() !== null || !sending.has(key));
			unsentIn(keyOf(thread.id())).filter(isFree).forEach(add);
		},
		/** The conversation was created: its messages move along. */
		moved() {
			for (const { unsent } of entries) {
				exchange(keyOf(null), unsent.key);
				exchange(keyOf(thread.id()), unsent.key, unsent);
			}
		},
		/** The elements that show the messages that are not stored yet. */
		elements() {
			const missing = entries.filter(({ unsent }) => !thread.isStored(unsent));
			return missing.flatMap(({ view, alert }) => (alert ? [view.element, alert] : [view.element]));
		},
		/** Messages were loaded. A failed one that seems to be among them is sent again: its key tells for sure. */
		reconcile() {
			for (const entry of entries) if (!entry.isSending && thread.isStored(entry.unsent)) deliver(entry);
		},
	};
};
