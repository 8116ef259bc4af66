/** One conversation as it is open in this tab: what is known of it, and everything that can be done in it. */

import { createAgentSetting } from "./agent-setting.js";
import { ApiError, isAbort } from "../server/api.js";
import { describe, problem } from "../ui/feedback.js";
import { createMessageStore } from "./message-store.js";
import { loadEditor } from "../ui/on-demand.js";
import { createConversationSync } from "./conversation-sync.js";
import { createMessageView, effectiveContent } from "../message/message-view.js";
import { createOutbox } from "./outbox.js";
import { createPendingAnswers } from "./pending-answers.js";

/** How long the request for an answer may still be on its way when the answer is stopped. */
const UNWANTED_MILLISECONDS = 10_000;

/** @type {CreateThread} */
export const createThread = (context, conversationId, place, handlers) => {
	const { api, tabs, transcript, composer, agents, agentSelect, bookmarks, announce, companyId } = context;
	const abort = new AbortController();
	const { signal } = abort;
	const known = createMessageStore();
	/** What is being done, that it is not done twice. @type {Set<string>} */
	const busy = new Set();
	/** What is shown instead of the messages, when these cannot be. @type {HTMLElement | null} */
	let trouble = null;
	let isOpen = false;
	/** Until when an answer to a trigger, should it begin yet, is stopped again. @type {Map<string | null, number>} */
	const unwanted = new Map();
	let id = conversationId;
	/** @type {Map<string, MessageView>} */
	const views = new Map();
	/** @type {Promise<string> | null} */
	let creating = null;

	// What is shown

	/** The agent that answers this message. @param {string | null} trigger */
	const agentFor = (trigger) => known.find(trigger)?.agentId ?? sync.conversation()?.agentId ?? null;

	/** @param {Role} role @param {string | null} agentId */
	const authorName = (role, agentId) => {
		if (role === "user") return "You";
		if (role === "system") return "System";
		return agentId ? agents.nameOf(agentId) : "Assistant";
	};

	/** @param {Message} message */
	const viewOf = (message) => {
		const view = views.get(message.id) ?? createMessageView(message.role, "", actions);
		views.set(message.id, view);
		return view;
	};

	/** The message was superseded or unloaded. @param {string} id @param {MessageView} view */
	const drop = (id, view) => {
		views.delete(id);
		const unsaved = view.unsaved();
		if (unsaved === null) return;
		giveBack(unsaved);
	};

	/** @param {string} unsaved what was written into an editor that is gone */
	const giveBack = (unsaved) => {
		composer.giveBack(unsaved, id);
		const text = "The message that you were editing is not here any more. Your words are below.";
		if (!signal.aborted) composer.showProblem(problem(text));
	};

	const repaint = () => {
		if (signal.aborted) return;
		if (trouble) return transcript.place([trouble]);
		const ordered = known.inReadingOrder();
		const last = ordered.at(-1);
		const isQuiet = !answers.isAnswering() && !outbox.isSending();
		answers.forgetMissingBut(last?.id ?? null);
		if (last?.role === "user" && isQuiet) {
			answers.noteUnanswered(last.conversationId, last.id, "There is no answer to this.");
		}
		const elements = ordered.flatMap((message) => {
			const view = viewOf(message);
			const isNewest = message === last && isQuiet;
			view.update(message, {
				author: authorName(message.role, message.agentId),
				isNewest,
				canRegenerate: isNewest && message.role === "assistant" && Boolean(known.questionOf(message)),
				isBookmarked: bookmarks.has(message.id),
			});
			return [view.element, answers.elementFor(message.id) ?? []].flat();
		});
		const ids = new Set(ordered.map((message) => message.id));
		transcript.place([...elements, ...outbox.elements(), ...answers.elementsBut(ids)]);
		composer.setAnswering(answers.isAnswering());
		for (const [id, view] of views) if (!ids.has(id)) drop(id, view);
	};

	const tellChanged = () => {
		tabs.tell({ kind: "changed", conversationId: id });
		handlers.onActivity();
	};

	// What the server knows

	/** @param {Message} message @param {MessageView} view that showed it in the making */
	const become = (message, view) => {
		views.set(message.id, view);
		announce(`${authorName(message.role, message.agentId)}: ${effectiveContent(message)}`);
	};

	const sync = createConversationSync(context, signal, known, {
		id: () => id,
		onConversation: handlers.onConversation,
		onMessages(run) {
			trouble = null;
			for (const message of known.inReadingOrder()) {
				const view = message.replyTo && answers.settle(message.replyTo);
				if (view) become(message, view);
			}
			if (run && id && !known.isAnswered(run.triggerMessageId)) {
				if ((unwanted.get(run.triggerMessageId) ?? 0) > Date.now()) stopLate(id, run.triggerMessageId);
				else answers.follow(id, run.triggerMessageId, { starts: false });
			}
			outbox.reconcile();
			repaint();
			if (!isOpen) void arrive();
		},
		onOlder: () => repaint(),
		onGone() {
			answers.forget();
			composer.hide();
			trouble = problem("This conversation does not exist, or was deleted.");
			repaint();
			handlers.onGone();
		},
		onBack: handlers.onBack,
	});

	/** What fails is due, and the next poll tries it again. */
	const tryRefresh = () => sync.refresh().catch(() => {});

	/** @param {string} id @param {string | null} trigger */
	const stopLate = async (id, trigger) => {
		const { stopped } = await api.stop(id).catch(() => ({ stopped: false })); // The next poll tries again.
		if (stopped) unwanted.delete(trigger);
	};

	/** The messages are there for the first time. */
	const arrive = async () => {
		isOpen = true;
		if (place) await sync.loadBackTo(place.id.replace("m-", "")).catch(() => {});
		if (signal.aborted) return;
		if (place) transcript.goBackTo(place);
		else transcript.goToEnd();
		outbox.restore();
	};

	const open = async () => {
		if (!id) return outbox.restore();
		try {
			await sync.refresh();
		} catch (error) {
			if (isAbort(error) || sync.isGone()) return;
			trouble = problem(describe(error), open);
			repaint();
		}
	};

	// What people do

	/**
	 * Does what may fail, and offers to try again.
	 *
	 * @param {string} name what is not done twice at once
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

	/** Asks for the answer to a message that is known by now. @param {Message} message */
	const ask = (message) => {
		unwanted.delete(message.id);
		// Who went elsewhere does not read the answer, but did ask for it.
		if (signal.aborted) return api.startAnswer(message.conversationId, message.id);
		answers.follow(message.conversationId, message.id, { starts: true });
		tellChanged();
	};

	/** The same where all after it was just superseded. @param {Message} message */
	const askAnew = (message) => {
		answers.forget();
		known.rewindTo(message);
		ask(message);
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

	const outbox = createOutbox(context, {
		id: () => id,
		async conversationId() {
			await agentSetting.saved();
			return id ?? (creating ??= create().finally(() => (creating = null)));
		},
		newest: known.newest,
		isStored: ({ content, after }) => known.isAsked(content, after),
		createView: () => createMessageView("user", "You", actions),
		onChange: repaint,
		onSent(message, view) {
			if (!views.has(message.id)) views.set(message.id, view);
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

	/** @type {MessageActions} */
	const actions = {
		announce,
		onEdit: (message, open) => attempt(`edit ${message.id}`, async () => open((await loadEditor()).editMessage)),
		async onSave(message, text) {
			transcript.goToEnd();
			if (answers.isAnswering()) await api.stop(message.conversationId);
			const edited = await api.editMessage(message.conversationId, message.id, text);
			await api.rewind(message.conversationId, message.id);
			askAnew(edited);
		},
		onLost: (_, text) => giveBack(text),
		onRegenerate: (answer) =>
			attempt(`regenerate ${answer.id}`, async (id) => {
				const question = known.questionOf(answer);
				if (!question) return;
				transcript.goToEnd();
				composer.focus();
				await api.rewind(id, question.id);
				askAnew(question);
			}),
		onBranch: (message) =>
			attempt(`branch ${message.id}`, async (id) => {
				const branch = await api.branch(id, message.id);
				if (!signal.aborted) handlers.onBranched(branch);
			}),
		onBookmark: (message) => attempt(`bookmark ${message.id}`, () => bookmarks.toggle(message)),
	};

	const answers = createPendingAnswers(context, {
		createView: (trigger) => createMessageView("assistant", authorName("assistant", agentFor(trigger)), actions),
		onAnswer(answer, view) {
			if (known.find(answer.id)) return repaint();
			/** What more the server knows of it follows. @type {Message} */
			const message = {
				...answer,
				conversationId: id ?? "",
				role: "assistant",
				editedContent: null,
				editedAt: null,
				agentId: agentFor(answer.replyTo),
				createdAt: new Date().toISOString(),
			};
			known.add(message);
			become(message, view);
			composer.clearProblem(); // Whatever it was, it went on.
			repaint();
		},
		onRetry(trigger) {
			unwanted.delete(trigger);
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
		repaint,
		id: () => (sync.isGone() ? null : id),
		send(content) {
			if (outbox.isSending()) return false;
			composer.clearProblem();
			place = null; // Who sends is at the end from now on.
			outbox.send(content, agentSelect.once());
			agentSelect.clearOnce();
			transcript.goToEnd();
			return true;
		},
		stop: () =>
			attempt("stop", async (id) => {
				const { stopped } = await api.stop(id);
				// Those have just ended, and are there after the refresh, or are yet to begin.
				const early = stopped ? [] : answers.triggers();
				for (const trigger of early) unwanted.set(trigger, Date.now() + UNWANTED_MILLISECONDS);
				await sync.refresh().finally(() => early.forEach(answers.settle));
				repaint();
			}),
		setAgent: agentSetting.set,
		close() {
			abort.abort();
			for (const [id, view] of views) drop(id, view);
			answers.forget();
			transcript.place([]);
		},
		poll: () => sync.poll(answers.isFollowing),
		reveal: (messageId) =>
			attempt(`reveal ${messageId}`, async () => {
				const message = await sync.loadBackTo(messageId);
				if (!message) throw new ApiError("That message is not here any more");
				transcript.reveal(viewOf(message).element);
			}),
	};
};
