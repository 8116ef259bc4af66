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
 *   & Parameters<typeof createWaitingMessages>[0] & Parameters<typeof createPainting>[0]} PageContext
 *   What the parts of a thread work with. It outlives the thread.
 */

import { t } from "../base/language.js";
import { ApiError, isAbort } from "../server/api.js";
import { justStored } from "../server/resources.js";
import { describe, problem } from "../ui/feedback.js";
import { createAgentSetting } from "./agent-setting.js";
import { createAttempt } from "./attempts.js";
import { createConversationSync } from "./conversation-sync.js";
import { createEarlyStops } from "./early-stops.js";
import { watchElsewhere } from "./elsewhere.js";
import { createMessageActions } from "./message-actions.js";
import { placeMessages } from "./message-states.js";
import { createMessageStore } from "./message-store.js";
import { createMessageViews } from "./message-views.js";
import { createOutbox } from "./outbox.js";
import { createPainting } from "./painting.js";
import { createPendingAnswers } from "./pending-answers.js";
import { createWaitingMessages } from "./waiting-messages.js";

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
	const { api, me, tabs, transcript, composer, agentSelect, companyId } = context;
	const abort = new AbortController();
	const { signal } = abort;
	const known = createMessageStore();
	/** Shown instead of the messages if these cannot be loaded. @type {HTMLElement | null} */
	let failure = null;
	let isOpen = false;
	const earlyStops = createEarlyStops(api);
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

	const attempt = createAttempt(composer, { id: () => id, isLeft: () => signal.aborted || sync.isGone() });

	/** Asks for the answer to a message that is stored. @param {Message} message */
	const ask = (message) => {
		earlyStops.forget(message.id);
		// The thread was left: the answer is wanted, but not read here.
		if (signal.aborted) return void api.startAnswer(message.conversationId, message.id);
		waiting.hold();
		answers.follow(message.conversationId, message.id, { starts: true });
		void tryRefresh();
		tellChanged();
	};

	/** Puts unsaved text of an editor that is gone into the text box. @param {string} unsaved */
	const giveBack = (unsaved) => {
		composer.giveBack(unsaved, id);
		const text = t("The message that you were editing is not here any more. Your words are below.");
		if (!signal.aborted) composer.showProblem(problem(text));
	};

	/** @param {string} content @param {string | null} agentId */
	const send = (content, agentId) => {
		composer.clearProblem();
		if (!answers.isAnswering()) waiting.release();
		position = null; // From now on the thread is read at its end.
		outbox.send(content, agentId);
		agentSelect.clearOnce();
		transcript.goToEnd();
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
			// Not earlier: until now the end was elsewhere, perhaps hundreds of messages further down.
			if (!signal.aborted) transcript.goToEnd();
		},
		agentFor,
		setAgent: (agentId) => (agentSetting.set(agentId), agentSetting.saved()),
		send,
		refresh: () => sync.refresh().then(tellChanged),
		loadBackTo: (messageId) => sync.loadBackTo(messageId),
		pagerOf: (message) => views.viewOf(message).pager,
		onLost: giveBack,
		onBranched: (branch) => signal.aborted || handlers.onBranched(branch),
	});

	// What is shown

	/** @type {typeof actions} */
	const viewActions = {
		...actions,
		onSave: (message, text) => waiting.without(message, () => actions.onSave(message, text)),
	};
	const views = createMessageViews(context, viewActions, giveBack);

	/** Messages or answers have changed: first what depends on them is brought up to date, then all is shown. */
	const repaint = () => {
		if (signal.aborted) return;
		if (failure) return transcript.show([failure]);
		waiting.settle(sync.conversation()?.activeRun?.triggerMessageId ?? null);
		const isQuiet = !answers.isAnswering() && !outbox.isSending();
		const placed = placeMessages(known, { isQuiet, isWaiting: waiting.isWaiting });
		answers.noteUnanswered(placed, isQuiet);
		if (id) handlers.onFollowing(id, answers.triggers());
		paint(placed, isQuiet);
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
			// The messages are newer than the conversation: by their time the run can have ended.
			const isOver = run && (known.isAnswered(run.triggerMessageId) || known.find(run.triggerMessageId)?.failure);
			if (run && id && !isOver) {
				if (earlyStops.has(run.triggerMessageId)) void earlyStops.stop(id, run.triggerMessageId);
				else answers.follow(id, run.triggerMessageId, { starts: false });
			}
			outbox.reconcile();
			if (!isOpen) waiting.adopt(run?.triggerMessageId ?? null);
			repaint();
			if (!isOpen) void arrive();
			waiting.next();
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

	/** If it fails, the next poll tries it again. Begins before `onActivity`, whose poll would ask for the same. */
	const tryRefresh = () => sync.refresh().catch(() => {});

	/** The messages are loaded for the first time. */
	const arrive = async () => {
		isOpen = true;
		if (position) {
			const load = position.isFromStart ? sync.loadFirst : sync.loadBackTo;
			await load(position.id.replace("m-", "")).catch(() => {});
		}
		if (signal.aborted) return;
		if (position) transcript.goBackTo(position);
		else transcript.goToEnd();
		if (me.canWrite) outbox.restore();
	};

	const open = async () => {
		if (!id) return me.canWrite ? outbox.restore() : undefined;
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
			waiting.askInTurn(message);
		},
	});

	const waiting = createWaitingMessages(context, known, {
		id: () => id,
		isLeft: () => signal.aborted,
		isFollowing: (trigger) => answers.isFollowing(trigger),
		isAnswering: () => answers.isAnswering() || Boolean(sync.conversation()?.activeRun),
		attempt,
		ask,
		onChanged() {
			repaint();
			const refreshed = tryRefresh();
			tellChanged();
			return refreshed;
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
		id: () => id,
		createView: (trigger) => views.create("assistant", agentFor(trigger)),
		onAnswer(answer, view) {
			if (known.find(answer.id)) return (view.close(), repaint());
			const message = justStored({ ...answer, conversationId: id ?? "", agentId: agentFor(answer.replyTo) });
			known.add(message);
			views.finish(message, view);
			composer.clearProblem(); // An older problem is over: there is an answer.
			repaint();
		},
		onRetry(trigger) {
			earlyStops.forget(trigger);
			composer.focus();
		},
		onOtherAgent: actions.onOtherAgentFor,
		hasOtherAgents: (trigger) => actions.hasOthersThan(agentFor(trigger)),
		onChange: repaint,
		onStale() {
			void tryRefresh();
			handlers.onActivity();
		},
	});

	const paint = createPainting(context, known, { actions, views, waiting, answers, outbox });

	// What happens elsewhere

	watchElsewhere(tabs, signal, {
		id: () => id,
		refresh: tryRefresh,
		onAnswering: (trigger) => id && !known.isAnswered(trigger) && answers.follow(id, trigger, { starts: false }),
		onHidden() {
			answers.suspend();
			void waiting.handOver();
		},
		onLeaving: () => void waiting.handOver(true),
		onShown: () => id && answers.resume(id),
	});

	return {
		open,
		loadOlder: sync.loadOlder,
		loadNewer: sync.loadNewer,
		/** Shows the first messages, and nothing of what follows until that is loaded. */
		goToStart: () => attempt("start", () => sync.loadFirst().then(transcript.goToStart)),
		leaveStart() {
			known.leaveFirst();
			repaint();
		},
		/** Shows everything anew, because names or bookmarks have changed. */
		repaint,
		/** Null also if the conversation is gone. */
		id: () => (sync.isGone() ? null : id),
		/** @param {string} content */
		send: (content) => send(content, agentSelect.once()),
		/** Stops the answer that is being generated. What was shown of it stays, and what waits behind it begins. */
		stop: () =>
			attempt("stop", async (id) => {
				const { stopped } = await api.stop(id);
				// If nothing was stopped, the answers have just ended, and the refresh brings them; or they have not begun.
				const early = stopped ? [] : answers.triggers();
				early.forEach(earlyStops.add);
				await sync.refresh().finally(() => early.forEach(answers.drop));
				repaint();
				waiting.next();
			}),
		setAgent: agentSetting.set,
		/**
		 * Leaves the conversation. Answers that are being generated go on without this tab.
		 *
		 * @param {boolean} [isSignedOut] nobody can ask for further ones
		 */
		close(isSignedOut = false) {
			if (!isSignedOut) void waiting.handOver();
			abort.abort();
			views.keepOnly(new Set());
			answers.close();
			transcript.show([]);
		},
		/** Looks for changes that this tab was not told of. */
		poll: () => sync.poll(answers.isFollowing),
		/** Scrolls to a message, however old it is. @param {string} messageId */
		reveal: (messageId) =>
			attempt(`reveal ${messageId}`, async () => {
				const message = await sync.loadBackTo(messageId);
				if (!message) throw new ApiError(t("That message is not here any more"));
				transcript.reveal(views.viewOf(message).element);
			}),
	};
};
