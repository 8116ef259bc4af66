/**
 * Messages that were sent while an answer was generated. They are stored already, and wait for their own answers: the
 * next one is asked for when the answer before has ended. So nothing that waits occupies a connection.
 *
 * Their ids are kept in the browser until their answers begin: over a reload, and for all tabs. Any tab asks for the
 * next answer; the server sees to it that each message is answered once. When this tab is hidden or leaves the
 * conversation, it hands all of them to the server, which answers them without the page.
 *
 * @import { Me } from "../account/me.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { Message } from "../server/resources.js"
 * @import { Announce } from "../ui/feedback.js"
 * @import { Composer } from "./composer.js"
 * @import { MessageStore } from "./message-store.js"
 */

import { t } from "../base/language.js";
import { waitingIds } from "../base/storage.js";
import { ApiError } from "../server/api.js";
import { effectiveContent } from "../server/resources.js";
import { button, element } from "../ui/dom.js";
import { problem } from "../ui/feedback.js";

/** Ids of messages that were erased elsewhere stay in the list; the oldest ones are forgotten. */
const MOST_KEPT = 100;

/**
 * @param {{ api: ApiClient, me: Me, composer: Composer, announce: Announce }} context
 * @param {MessageStore} known
 * @param {object} thread
 * @param {() => string | null} thread.id
 * @param {() => boolean} thread.isLeft
 * @param {() => boolean} thread.isAnswering whether any answer is being generated, as far as this tab knows
 * @param {(trigger: string | null) => boolean} thread.isFollowing whether the answer is being generated, or asked for
 * @param {(name: string, task: (conversationId: string) => Promise<void>) => Promise<void>} thread.attempt
 * @param {(message: Message) => void} thread.ask
 * @param {() => Promise<void>} thread.onChanged the conversation is another one than before, for all tabs; never fails
 */
export const createWaitingMessages = ({ api, me, composer, announce }, known, thread) => {
	/** Those whose answers this tab has asked for. @type {Set<string>} */
	const asked = new Set();
	/** What is shown below a message, by its id. @type {Map<string, HTMLElement>} */
	const elements = new Map();
	/** After a failure the next answer begins only when somebody wants that: it may build on the one that failed. */
	let isReleased = false;

	/** @param {string} text */
	const parse = (text) => text.split(" ").filter(Boolean);
	/** What was read last: each message that is shown asks for it. */
	let read = { text: "", ids: parse("") };

	/** In the order of their turns. Read anew each time: other tabs change it, too. */
	const ids = () => {
		const id = thread.id();
		const text = id ? waitingIds.get(id) : "";
		if (text !== read.text) read = { text, ids: parse(text) };
		return read.ids;
	};

	/** @param {string[]} now */
	const store = (now) => {
		const id = thread.id();
		if (id) waitingIds.set(id, now.slice(-MOST_KEPT).join(" "));
	};

	/** @param {string} id */
	const remove = (id) => {
		asked.delete(id);
		const before = ids();
		if (before.includes(id)) store(before.filter((other) => other !== id));
	};

	/**
	 * Messages that were removed wait again, each in its place. What other tabs have changed since stays.
	 *
	 * @param {readonly string[]} removed
	 * @param {readonly string[]} before what there was
	 */
	const putBack = (removed, before) => {
		const now = ids();
		const old = before.filter((id) => now.includes(id) || removed.includes(id));
		store([...old, ...now.filter((id) => !old.includes(id))]);
		if (thread.isLeft()) void handOver();
	};

	/** @param {string} id */
	const isOpen = (id) => {
		const message = known.find(id);
		return message?.role === "user" && !known.isAnswered(id) && !thread.isFollowing(id) ? message : null;
	};

	/** The messages that wait, in the order of their turns. */
	const waiting = () => ids().flatMap((id) => isOpen(id) ?? []);

	/** Whether the answer before this message has failed. @param {Message} message */
	const isHeld = (message) => {
		const queue = new Set(ids());
		const ordered = known.inReadingOrder();
		const before = ordered.slice(0, ordered.indexOf(message)).findLast(({ id }) => !queue.has(id));
		return Boolean(before?.failure && !thread.isFollowing(before.id)) && !isReleased;
	};

	/** @param {Message} message */
	const takeBack = (message) =>
		thread.attempt(`take back ${message.id}`, async (conversationId) => {
			if (!isOpen(message.id)) return; // Erasing would take its answer along.
			const before = ids();
			remove(message.id); // Nobody asks for its answer meanwhile.
			try {
				await api.eraseMessage(conversationId, message.id);
			} catch (error) {
				const isBegun = error instanceof ApiError && error.status === 409;
				if (!isBegun) putBack([message.id], before);
				if (!isBegun) throw error;
				const alert = problem(t("Too late to take it back: its answer has begun."));
				if (!thread.isLeft()) composer.showProblem(alert);
				return thread.onChanged();
			}
			known.remove(message.id);
			composer.giveBack(effectiveContent(message), conversationId);
			void thread.onChanged();
		});

	/** Ends the answer that is being generated; what was shown of it stays. @param {Message} message */
	const sendNow = (message) =>
		thread.attempt(`send now ${message.id}`, async (conversationId) => {
			if (!isOpen(message.id)) return;
			// Whichever tab sees first that the other answer has ended asks for the first one.
			store([message.id, ...ids().filter((id) => id !== message.id)]);
			isReleased = true;
			composer.focus();
			await api.stop(conversationId);
			await api.interruptFor(conversationId, message.id);
			ask(message);
		});

	/** @param {Message} message */
	const ask = (message) => {
		asked.add(message.id);
		thread.ask(message);
	};

	/** @param {Message} message */
	const build = (message) => {
		const label = { role: "group", "aria-label": t("Waiting message") };
		const box = element("div", { class: "waiting", ...label }, element("p"));
		if (me.canChange(message)) box.append(button(t("Take back"), () => takeBack(message), "quiet-button"));
		box.append(button(t("Send now"), () => sendNow(message), "quiet-button"));
		return box;
	};

	/**
	 * The server answers all, even if no tab looks.
	 *
	 * @param {boolean} [isLast] whether the page can do nothing more. Then all are asked for at once, and the server
	 *   answers them in the order in which the requests arrive; otherwise in the order of their turns.
	 */
	const handOver = async (isLast = false) => {
		const conversationId = thread.id();
		const all = waiting();
		if (!conversationId || !me.canWrite || (all[0] && isHeld(all[0]))) return;
		for (const { id } of all) {
			const started = api.startAnswer(conversationId, id);
			if (!isLast) await started;
		}
	};

	/** @param {Message} message */
	const isWaiting = ({ id }) => ids().includes(id) && isOpen(id) !== null;

	return {
		handOver,
		isWaiting,
		/** Asks for the answer to a message that was just stored, or lets it wait. @param {Message} message */
		askInTurn(message) {
			const isBusy = thread.isAnswering() || waiting().length > 0;
			if (!isBusy || thread.isLeft()) return thread.ask(message);
			store([...ids(), message.id]);
			announce(t("Your message waits for the answer before it."));
			if (document.hidden) void handOver();
			void thread.onChanged(); // What was known of the other answer can be over by now.
		},
		/** Takes in unanswered messages behind the answer that is being generated. @param {string | null} running */
		adopt(running) {
			const ordered = known.inReadingOrder();
			const start = ordered.findIndex(({ id }) => id === running) + 1;
			if (!start || !me.canWrite) return;
			const found = ordered.slice(start).filter(({ id }) => isOpen(id) && !ids().includes(id));
			if (found.length) store([...ids(), ...found.map(({ id }) => id)]);
		},
		/** Forgets the messages whose turn has come. @param {string | null} running the message that is being answered */
		settle(running) {
			for (const id of ids()) {
				const isOver = asked.has(id) && !thread.isFollowing(id);
				if (id === running || isOver || known.isAnswered(id)) remove(id);
			}
			for (const id of elements.keys()) if (!ids().includes(id)) elements.delete(id);
		},
		/** Whether one of them will be answered without anybody's doing. */
		isGoingOn() {
			const [message] = waiting();
			return Boolean(message) && !isHeld(message);
		},
		/** Asks for the answer to the message that waits longest, if it is its turn. */
		next() {
			if (thread.isLeft() || thread.isAnswering() || !me.canWrite) return;
			const [message] = waiting();
			if (message && !isHeld(message)) ask(message);
		},
		/** Somebody goes on after a failure, so the messages that wait may go on, too. */
		release() {
			isReleased = true;
		},
		/** An answer has begun: if it fails, the messages behind it wait. */
		hold() {
			isReleased = false;
		},
		/**
		 * Runs a task that supersedes all that follows a message. Those that wait there are not answered, and their texts
		 * are given back.
		 *
		 * @param {Message} message
		 * @param {() => Promise<void>} task
		 */
		async without(message, task) {
			const [before, conversationId] = [ids(), thread.id()];
			const ordered = known.inReadingOrder();
			const behind = new Set(ordered.slice(ordered.findIndex(({ id }) => id === message.id) + 1));
			const lost = waiting().filter((other) => behind.has(other));
			for (const { id } of lost) remove(id); // Nobody asks for their answers meanwhile.
			try {
				await task();
			} catch (error) {
				putBack(lost.map(({ id }) => id), before);
				throw error;
			}
			for (const message of lost) composer.giveBack(effectiveContent(message), conversationId);
		},
		/** What belongs below the message if it waits. @param {Message} message */
		elementFor(message) {
			if (!isWaiting(message)) return null;
			const found = elements.get(message.id) ?? build(message);
			elements.set(message.id, found);
			const text = isHeld(message) ? t("On hold: the answer before it has failed") : t("Waiting");
			const [state] = found.children;
			if (state.textContent !== text) state.textContent = text;
			return found;
		},
	};
};
