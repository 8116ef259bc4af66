/**
 * One conversation as it is open in this tab: what is shown of it, and everything that can be done in it.
 *
 * @import { Message } from "../server/resources.js"
 * @import { ReadingPosition } from "./transcript.js"
 *
 * @typedef {ReturnType<typeof createThread>} Thread
 *
 * @typedef {Parameters<typeof createConversationSync>[0] & Parameters<typeof createMessageActions>[0]
 *   & Parameters<typeof createMessageViews>[0] & Parameters<typeof createOutbox>[0]
 *   & Parameters<typeof createAgentSetting>[0] & Parameters<typeof createPendingAnswers>[0]
 *   & Parameters<typeof createEchoNote>[0]} PageContext
 *   What the parts of a thread work with. It outlives the thread.
 */

import { ApiError, isAbort } from "../server/api.js";
import { describe, problem } from "../ui/feedback.js";
import { createAgentSetting } from "./agent-setting.js";
import { createConversationSync } from "./conversation-sync.js";
import { createEchoNote } from "./echo-note.js";
import { createMessageActions } from "./message-actions.js";
import { createMessageStore } from "./message-store.js";
import { createMessageViews } from "./message-views.js";
import { createOutbox } from "./outbox.js";
import { createPendingAnswers } from "./pending-answers.js";

/** How long the request for an answer may still be on its way when the answer is stopped. */
const EARLY_STOP_MILLISECONDS = 10_000;

/**
 * @param {PageContext} context
 * @param {string | null} conversationId null: a new conversation, which its first message creates
 * @param {ReadingPosition | null} position where it was left; null: it is shown at its end
 * @param {object} handlers
 * @param {(conversation: Api.Conversation) => void} handlers.onConversation it was received anew
 * @param {(conversation: Api.Conversation) => void} handlers.onCreated
 * @param {(branch: Api.Conversation) => void} handlers.onBranched
 * @param {() => void} handlers.onGone the conversation does not exist, or was deleted
 * @param {() => void} handlers.onBack a deleted conversation was restored
 * @param {() => void} handlers.onActivity lists may have changed
 * @param {(id: string, triggers: (string | null)[]) => void} handlers.onFollowing these answers are shown as they grow,
 *   and no others
 */
export const createThread = (context, conversationId, position, handlers) => {
	const { api, tabs, transcript, composer, agentSelect, companyId } = context;
	const abort = new AbortController();
	const { signal } = abort;
	const known = createMessageStore();
	/** Names of the tasks under way, so that none is done twice at once. @type {Set<string>} */
	const busy = new Set();
	/** Shown instead of the messages if these cannot be loaded. @type {HTMLElement | null} */
	let failure = null;
	let isOpen = false;
	/**
	 * By trigger: until when an answer that was stopped before it began is stopped again.
	 *
	 * @type {Map<string | null, number>}
	 */
	const stoppedEarly = new Map();
	let id = conversationId;
	/** @type {Promise<string> | null} */
	let creating = null;

	const tellChanged = () => {
		tabs.tell({ kind: "changed", conversationId: id });
		handlers.onActivity();
	};

	/** The agent that answers this message. @param {string | null} trigger */
	const agentFor = (trigger) => known.find(trigger)?.agentId ?? sync.conversation()?.agentId ?? null;

	// What people do

	/**
	 * Runs a task, unless it is under way. If it fails, the error is shown with a Retry button.
	 *
	 * @param {string} name of the task
	 * @param {(id: string) => Promise<void>} task
	 */
	const attempt = async (name, task) => {
		if (!id || busy.has(name)) return;
		busy.add(name);
		composer.clearProblem();
		try {
			await task(id);
		} catch (error) {
			const retry = () => attempt(name, task);
			if (!signal.aborted && !sync.isGone()) composer.showProblem(problem(describe(error), retry));
		} finally {
			busy.delete(name);
		}
	};

	/** Asks for the answer to a message that is stored. @param {Message} message */
	const ask = (message) => {
		stoppedEarly.delete(message.id);
		// The thread was left: the answer is wanted, but not read here.
		if (signal.aborted) return api.startAnswer(message.conversationId, message.id);
		answers.follow(message.conversationId, message.id, { starts: true });
		tellChanged();
	};

	/** Puts unsaved text of an editor that is gone into the text box. @param {string} unsaved */
	const giveBack = (unsaved) => {
		composer.giveBack(unsaved, id);
		const text = "The message that you were editing is not here any more. Your words are below.";
		if (!signal.aborted) composer.showProblem(problem(text));
	};

	const create = async () => {
		const agentId = agentSelect.chosen();
		const created = await api.createConversation(companyId, agentId ? { agentId } : {});
		id = created.id;
		outbox.moved();
		if (!signal.aborted) {
			composer.adopt(id);
			sync.take(created);
			handlers.onCreated(created);
		}
		return id;
	};

	const actions = createMessageActions(context, known, {
		attempt,
		isAnswering: () => answers.isAnswering(),
		askAnew(message) {
			answers.forget();
			known.rewindTo(message);
			ask(message);
		},
		onLost: giveBack,
		onBranched(branch) {
			if (!signal.aborted) handlers.onBranched(branch);
		},
	});

	// What is shown

	const views = createMessageViews(context, actions, giveBack);
	const echoNote = createEchoNote(context);

	const repaint = () => {
		if (signal.aborted) return;
		if (failure) return transcript.show([failure]);
		const ordered = known.inReadingOrder();
		const last = ordered.at(-1);
		const isQuiet = !answers.isAnswering() && !outbox.isSending();
		answers.forgetMissingBut(last?.id ?? null);
		if (last?.role === "user" && isQuiet) {
			answers.noteUnanswered(last.conversationId, last.id, "There is no answer to this.");
		}
		const firstAnswer = known.olderCursor() ? null : ordered.find(({ role }) => role === "assistant");
		const elements = ordered.flatMap((message) => {
			const isNewest = message === last && isQuiet;
			const canRegenerate = isNewest && message.role === "assistant" && Boolean(known.questionOf(message));
			const note = message === firstAnswer ? echoNote.under(message) : [];
			return [views.update(message, { isNewest, canRegenerate }), ...note, answers.elementFor(message.id) ?? []].flat();
		});
		const ids = new Set(ordered.map((message) => message.id));
		transcript.show([...elements, ...outbox.elements(), ...answers.elementsBut(ids)]);
		composer.setAnswering(answers.isAnswering());
		if (id) handlers.onFollowing(id, answers.triggers());
		views.keepOnly(ids);
	};

	// What the server knows

	const sync = createConversationSync(context, signal, known, {
		id: () => id,
		onConversation: handlers.onConversation,
		onMessages(run) {
			failure = null;
			for (const message of known.inReadingOrder()) {
				const view = message.replyTo && answers.settle(message.replyTo);
				if (view) views.finish(message, view);
			}
			if (run && id && !known.isAnswered(run.triggerMessageId)) {
				if ((stoppedEarly.get(run.triggerMessageId) ?? 0) > Date.now()) stopLate(id, run.triggerMessageId);
				else answers.follow(id, run.triggerMessageId, { starts: false });
			}
			outbox.reconcile();
			repaint();
			if (!isOpen) void arrive();
		},
		onOlder: repaint,
		onGone() {
			answers.forget();
			composer.hide();
			failure = problem("This conversation does not exist, or was deleted.");
			repaint();
			handlers.onGone();
		},
		onBack: handlers.onBack,
	});

	/** If it fails, the next poll tries it again. */
	const tryRefresh = () => sync.refresh().catch(() => {});

	/** @param {string} id @param {string | null} trigger */
	const stopLate = async (id, trigger) => {
		const { stopped } = await api.stop(id).catch(() => ({ stopped: false })); // The next poll tries again.
		if (stopped) stoppedEarly.delete(trigger);
	};

	/** The messages are loaded for the first time. */
	const arrive = async () => {
		isOpen = true;
		if (position) await sync.loadBackTo(position.id.replace("m-", "")).catch(() => {});
		if (signal.aborted) return;
		if (position) transcript.goBackTo(position);
		else transcript.goToEnd();
		outbox.restore();
	};

	const open = async () => {
		if (!id) return outbox.restore();
		try {
			await sync.refresh();
		} catch (error) {
			if (isAbort(error) || sync.isGone()) return;
			failure = problem(describe(error), open);
			repaint();
		}
	};

	const outbox = createOutbox(context, {
		id: () => id,
		async conversationId() {
			await agentSetting.saved();
			return id ?? (creating ??= create().finally(() => (creating = null)));
		},
		newest: known.newest,
		isStored: ({ content, after }) => known.isAsked(content, after),
		createView: () => views.create("user", null),
		onChange: repaint,
		onSent(message, view) {
			views.adopt(message, view);
			known.add(message);
			ask(message);
		},
	});

	const agentSetting = createAgentSetting(context, {
		id: async () => (await creating?.catch(() => null)) ?? id,
		current: () => sync.conversation()?.agentId ?? null,
		isLeft: () => signal.aborted || sync.isGone(),
		onSaved(saved) {
			sync.take(saved);
			tellChanged();
		},
	});

	const answers = createPendingAnswers(context, {
		createView: (trigger) => views.create("assistant", agentFor(trigger)),
		onAnswer(answer, view) {
			if (known.find(answer.id)) return repaint();
			/** The refresh that follows brings what else the server knows. @type {Message} */
			const message = {
				...answer,
				conversationId: id ?? "",
				role: "assistant",
				editedContent: null,
				editedAt: null,
				agentId: agentFor(answer.replyTo),
				createdAt: new Date().toISOString(),
				supersededAt: null,
				usage: null,
				model: null,
				stopReason: null,
				durationMs: null,
				reasoning: null,
				author: null,
				failure: null,
			};
			known.add(message);
			views.finish(message, view);
			composer.clearProblem(); // An older problem is over: there is an answer.
			repaint();
		},
		onRetry(trigger) {
			stoppedEarly.delete(trigger);
			composer.focus();
		},
		onChange: repaint,
		onStale() {
			handlers.onActivity();
			void tryRefresh();
		},
	});

	// What happens elsewhere

	tabs.listen(async (news) => {
		if (document.hidden || !id || !("conversationId" in news) || news.conversationId !== id) return;
		await tryRefresh();
		if (news.kind !== "answering" || signal.aborted || known.isAnswered(news.trigger)) return;
		answers.follow(id, news.trigger, { starts: false });
	}, signal);

	const onVisibilityChange = async () => {
		if (document.hidden) return answers.suspend();
		await tryRefresh();
		if (id && !signal.aborted) answers.resume(id);
	};
	document.addEventListener("visibilitychange", onVisibilityChange, { signal });

	return {
		open,
		loadOlder: sync.loadOlder,
		/** Shows everything anew, because names or bookmarks have changed. */
		repaint,
		/** Null also if the conversation is gone. */
		id: () => (sync.isGone() ? null : id),
		/** Returns whether the text was taken: not while another message is being sent. @param {string} content */
		send(content) {
			if (outbox.isSending()) return false;
			composer.clearProblem();
			position = null; // From now on the thread is read at its end.
			outbox.send(content, agentSelect.once());
			agentSelect.clearOnce();
			transcript.goToEnd();
			return true;
		},
		/** Stops the answer that is being generated. What was shown of it stays. */
		stop: () =>
			attempt("stop", async (id) => {
				const { stopped } = await api.stop(id);
				// If nothing was stopped, the answers have just ended, and the refresh brings them; or they have not begun.
				const early = stopped ? [] : answers.triggers();
				for (const trigger of early) stoppedEarly.set(trigger, Date.now() + EARLY_STOP_MILLISECONDS);
				await sync.refresh().finally(() => early.forEach(answers.settle));
				repaint();
			}),
		setAgent: agentSetting.set,
		/** Leaves the conversation. Answers that are being generated go on without this tab. */
		close() {
			abort.abort();
			views.keepOnly(new Set());
			answers.forget();
			transcript.show([]);
		},
		/** Looks for changes that this tab was not told of. */
		poll: () => sync.poll(answers.isFollowing),
		/** Scrolls to a message, however old it is. @param {string} messageId */
		reveal: (messageId) =>
			attempt(`reveal ${messageId}`, async () => {
				const message = await sync.loadBackTo(messageId);
				if (!message) throw new ApiError("That message is not here any more");
				transcript.reveal(views.viewOf(message).element);
			}),
	};
};
