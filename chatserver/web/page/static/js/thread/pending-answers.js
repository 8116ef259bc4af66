/**
 * The answers of one conversation that are being generated, and what stands in place of answers that failed. Each is
 * found by its trigger, the id of the message that it answers (null: there is no such message).
 *
 * @import { Me } from "../account/me.js"
 * @import { BrowserTabs, Progress } from "../base/browser-tabs.js"
 * @import { MessageView } from "../message/message-view.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { Message } from "../server/resources.js"
 * @import { followAnswer } from "../stream/answer-follower.js"
 * @import { ConnectionStatus } from "../ui/feedback.js"
 * @import { PlacedMessage } from "./message-states.js"
 * @import { Beginning, Failure } from "./missing-answers.js"
 *
 * @typedef {Pick<Message, "id" | "replyTo" | "content" | "status" | "reasoning" | "usage" | "stopReason">} StoredAnswer
 *
 * @typedef {object} Run
 * @property {MessageView} view
 * @property {boolean} starts whether asking for the answer may start it
 * @property {ReturnType<typeof followAnswer> | null} follower null while the tab is hidden: it needs no connection then
 * @property {Progress | null} progress
 */

import { t } from "../base/language.js";
import { describe } from "../ui/feedback.js";
import { onDemand } from "../ui/on-demand.js";
import { createMissingAnswers } from "./missing-answers.js";

const loadFollower = onDemand(() => import("../stream/answer-follower.js"));

/**
 * @param {{ api: ApiClient, tabs: BrowserTabs, me: Me, setConnection: ConnectionStatus }} context
 * @param {object} handlers
 * @param {() => string | null} handlers.id of the conversation
 * @param {(trigger: string | null) => MessageView} handlers.createView for the answer while it is generated
 * @param {(answer: StoredAnswer, view: MessageView) => void} handlers.onAnswer the answer is stored; `view` showed it
 *   while it was generated
 * @param {(trigger: string | null) => void} handlers.onRetry
 * @param {(trigger: string, opener: HTMLElement) => void} handlers.onOtherAgent
 * @param {(trigger: string) => boolean} handlers.hasOtherAgents
 * @param {() => void} handlers.onChange something else is to be shown
 * @param {() => void} handlers.onStale the server knows more than this tab
 */
export const createPendingAnswers = (context, handlers) => {
	const { api, me, setConnection } = context;
	/** @type {Map<string | null, Run>} */
	const runs = new Map();

	/** The answer is not generated any more. Returns the view that showed it. @param {string | null} trigger */
	const settle = (trigger) => {
		const run = runs.get(trigger);
		if (!run) return undefined;
		run.follower?.close();
		runs.delete(trigger);
		setConnection(`stream ${trigger}`, true);
		return run.view;
	};

	/** The answer is not shown any more, whether or not it goes on. @param {string | null} trigger */
	const drop = (trigger) => settle(trigger)?.close();

	/** @param {string} conversationId @param {string | null} trigger @param {Run} run */
	const open = async (conversationId, trigger, run) => {
		/** @param {Failure} failure @param {Beginning} [beginning] */
		const fail = (failure, beginning) => {
			settle(trigger);
			missing.noteBrokenOff(trigger, failure, beginning ?? null, run.view);
			handlers.onChange();
		};
		const onGone = () => {
			drop(trigger);
			handlers.onChange();
			handlers.onStale();
		};
		try {
			const { followAnswer } = await loadFollower();
			if (runs.get(trigger) !== run || run.follower) return;
			const { view, starts, progress } = run;
			run.starts = false;
			view.showRunning(starts);
			if (document.hidden) return starts ? api.startAnswer(conversationId, trigger) : undefined;
			run.follower = followAnswer(context, { conversationId, trigger, starts, progress }, {
				onProgress: view.showProgress,
				onConnection: (connected) => setConnection(`stream ${trigger}`, connected),
				onGone,
				onRefused(error) {
					// Who may only read cannot have it made again: it has ended meanwhile.
					if (error.status === 404 || (error.status === 403 && !me.canWrite)) return onGone();
					fail({ error: error.message, retryable: true });
					handlers.onStale();
				},
				onEnd(end, { content, reasoning }) {
					settle(trigger);
					if (end.type === "error") fail(end, { content, reasoning });
					else if (end.messageId) {
						const stored = { id: end.messageId, replyTo: trigger, content, reasoning: reasoning || null };
						const { usage, stopReason } = end.type === "done" ? end : { usage: null, stopReason: null };
						const status = end.type === "done" ? "completed" : "stopped";
						handlers.onAnswer({ ...stored, status, usage, stopReason }, view);
					} else {
						view.close();
						missing.noteNone(trigger, t("Stopped before there was an answer."));
						handlers.onChange();
					}
					handlers.onStale();
				},
			});
		} catch (error) {
			if (runs.get(trigger) === run) fail({ error: describe(error), retryable: true });
		}
	};

	/**
	 * Shows an answer while it is generated.
	 *
	 * @param {string} conversationId
	 * @param {string | null} trigger
	 * @param {{ starts: boolean }} how whether asking for the answer may start it
	 */
	const follow = (conversationId, trigger, { starts }) => {
		let run = runs.get(trigger);
		if (!run) {
			run = { view: handlers.createView(trigger), starts, follower: null, progress: null };
			run.view.showRunning(starts);
			runs.set(trigger, run);
			missing.forget(trigger);
			handlers.onChange();
		}
		run.starts ||= starts;
		if (!run.follower) void open(conversationId, trigger, run);
	};

	const missing = createMissingAnswers({
		...handlers,
		canAsk: me.canWrite,
		onRetry(trigger) {
			const conversationId = handlers.id();
			handlers.onRetry(trigger);
			if (conversationId) follow(conversationId, trigger, { starts: true });
		},
	});

	/** @param {string | null} trigger */
	const elementsFor = (trigger) => {
		const run = runs.get(trigger);
		return run ? [run.view.element] : (missing.elementsFor(trigger) ?? []);
	};

	return {
		follow,
		settle,
		elementsFor,
		/**
		 * Says at each message without an answer why there is none.
		 *
		 * @param {readonly PlacedMessage[]} placed all messages
		 * @param {boolean} isQuiet whether nothing is under way
		 */
		noteUnanswered(placed, isQuiet) {
			const unanswered = placed.filter(({ isUnanswered }) => isUnanswered);
			/** @type {Set<string | null>} */
			const ids = new Set(placed.length ? unanswered.map(({ message }) => message.id) : [null]);
			for (const trigger of missing.triggers()) if (!ids.has(trigger)) missing.forget(trigger);
			for (const { message, isLast } of unanswered) {
				const { id, failure } = message;
				if (runs.has(id) || (isLast && !isQuiet)) continue;
				if (failure) missing.noteFailure(id, failure, isLast);
				else if (isLast) missing.noteNone(id, t("There is no answer to this."));
				else missing.forget(id);
			}
		},
		isAnswering: () => runs.size > 0,
		/** @param {string | null} trigger */
		isFollowing: (trigger) => runs.has(trigger),
		/** Closes the streams while the tab is hidden. */
		suspend() {
			for (const [trigger, run] of runs) {
				if (!run.follower) continue;
				const progress = run.follower.progress();
				run.follower.close();
				run.follower = null;
				setConnection(`stream ${trigger}`, true);
				run.progress = progress.lastEventId ? progress : null;
			}
		},
		/** @param {string} conversationId */
		resume(conversationId) {
			for (const trigger of runs.keys()) follow(conversationId, trigger, { starts: false });
		},
		triggers: () => [...runs.keys()],
		drop,
		/** Stops following all answers; they go on without this tab. */
		forget: () => [...runs.keys()].forEach(drop),
		/** Nothing of this is shown any more. */
		close: () => [...runs.keys(), ...missing.triggers()].forEach((trigger) => (drop(trigger), missing.forget(trigger))),
		/** The elements that belong to none of these messages. @param {ReadonlySet<string | null>} known */
		elementsBut: (known) =>
			[...runs.keys(), ...missing.triggers()].flatMap((trigger) => (known.has(trigger) ? [] : elementsFor(trigger))),
	};
};
