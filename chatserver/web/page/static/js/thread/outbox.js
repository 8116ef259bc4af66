/**
 * Messages on their way to the server: shown at once, stored once, and kept until they are, over a reload too. Whatever
 * is tried again is tried under the same `Idempotency-Key`, so that the server says whether it has it already.
 */

import { idempotencyKey } from "../server/api.js";
import { button } from "../ui/dom.js";
import { describe, problem } from "../ui/feedback.js";
import { forThisTab, recall, remember } from "../base/storage.js";

/** @param {string} place @returns {Letter[]} */
function lettersIn(place) {
	try {
		const letters = JSON.parse(recall(place, forThisTab));
		return letters.filter((/** @type {Letter} */ { content, key }) => typeof content + typeof key === "stringstring");
	} catch {
		return []; // There are none, or somebody else wrote there.
	}
}

/** @param {string} place @param {string} key of the letter that goes @param {Letter[]} instead */
function exchange(place, key, ...instead) {
	const letters = [...lettersIn(place).filter((letter) => letter.key !== key), ...instead];
	remember(place, letters.length ? JSON.stringify(letters) : "", forThisTab);
}

/** @type {CreateOutbox} */
export const createOutbox = ({ api, companyId, composer, underWay }, thread) => {
	/** Where a conversation's are kept, or those that are yet to begin one. @param {string | null} id */
	const placeOf = (id) => `unsent ${id ?? companyId}`;
	/** @type {{letter: Letter, view: MessageView, isSending: boolean, alert: HTMLElement | null}[]} */
	let entries = [];

	/** @param {typeof entries[0]} entry */
	const remove = (entry) => {
		entries = entries.filter((other) => other !== entry);
		exchange(placeOf(thread.id()), entry.letter.key);
	};

	/** @param {typeof entries[0]} entry */
	const deliver = async (entry) => {
		const { content, agentId, key } = entry.letter;
		entry.isSending = true;
		entry.alert = null;
		thread.onChange();
		underWay.add(key);
		/** @type {Message | undefined} */
		let message;
		try {
			message = await api.addMessage(await thread.conversationId(), agentId ? { content, agentId } : { content }, key);
		} catch (error) {
			const retry = () => {
				composer.focus();
				void deliver(entry);
			};
			entry.alert = problem(`Not sent. ${describe(error)}`, retry);
			const takeBack = () => {
				remove(entry);
				composer.giveBack(content);
				thread.onChange();
			};
			entry.alert.append(button("Take back", takeBack));
		}
		underWay.delete(key);
		entry.isSending = false;
		if (!message) return thread.onChange();
		remove(entry);
		thread.onSent(message, entry.view);
	};

	/** @param {Letter} letter */
	const add = (letter) => {
		const entry = { letter, view: thread.createView(), isSending: true, alert: null };
		entry.view.showPending(letter.content);
		entries.push(entry);
		exchange(placeOf(thread.id()), letter.key, letter);
		void deliver(entry);
	};

	return {
		isSending: () => entries.some(({ isSending }) => isSending),
		send: (content, agentId) => add({ content, agentId, key: idempotencyKey(), after: thread.newest() }),
		restore() {
			// One that is creating its conversation elsewhere in this tab would create another one here.
			const isFree = (/** @type {Letter} */ { key }) => thread.id() !== null || !underWay.has(key);
			lettersIn(placeOf(thread.id())).filter(isFree).forEach(add);
		},
		moved() {
			for (const { letter } of entries) {
				exchange(placeOf(null), letter.key);
				exchange(placeOf(thread.id()), letter.key, letter);
			}
		},
		elements() {
			const missing = entries.filter(({ letter }) => !thread.isStored(letter));
			return missing.flatMap(({ view, alert }) => (alert ? [view.element, alert] : [view.element]));
		},
		reconcile() {
			for (const entry of entries) if (!entry.isSending && thread.isStored(entry.letter)) void deliver(entry);
		},
	};
};
