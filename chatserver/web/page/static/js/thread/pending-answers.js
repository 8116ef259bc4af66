/**
 * The answers of one conversation that are being generated, and notices in place of answers that failed. Each is found
 * by its trigger, the id of the message that it answers (null: there is no such message).
 *
 * @import { BrowserTabs, Progress } from "../base/browser-tabs.js"
 * @import { MessageView } from "../message/message-view.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { Message } from "../server/resources.js"
 * @import { followAnswer } from "../stream/answer-follower.js"
 * @import { ConnectionStatus } from "../ui/feedback.js"
 *
 * @typedef {Pick<Message, "id" | "replyTo" | "content" | "status">} StoredAnswer
 *
 * @typedef {object} Run
 * @property {MessageView} view
 * @property {boolean} starts whether asking for the answer may start it
 * @property {ReturnType<typeof followAnswer> | null} follower null while the tab is hidden: it needs no connection then
 * @property {Progress | null} progress
 */

import { button, element } from "../ui/dom.js";
import { describe, problem } from "../ui/feedback.js";
import { onDemand } from "../ui/on-demand.js";

const loadFollower = onDemand(() => import("../stream/answer-follower.js"));

/**
 * @param {{ api: ApiClient, tabs: BrowserTabs, setConnection: ConnectionStatus }} context
 * @param {object} handlers
 * @param {(trigger: string | null) => MessageView} handlers.createView for the answer while it is generated
 * @param {(answer: StoredAnswer, view: MessageView) => void} handlers.onAnswer the answer is stored; `view` showed it
 *   while it was generated
 * @param {(trigger: string | null) => void} handlers.onRetry
 * @param {() => void} handlers.onChange something else is to be shown
 * @param {() => void} handlers.onStale the server knows more than this tab
 */
export const createPendingAnswers = (context, handlers) => {
	const { api, setConnection } = context;
	/** @type {Map<string | null, Run>} */
	const runs = new Map();
	/** Notices in place of answers. @type {Map<string | null, HTMLElement>} */
	const missing = new Map();

	/** The answer is not generated any more. Returns the view that showed it. @param {string | null} trigger */
	const settle = (trigger) => {
		const run = runs.get(trigger);
		if (!run) return undefined;
		run.follower?.close();
		runs.delete(trigger);
		setConnection(`stream ${trigger}`, true);
		return run.view;
	};

	/** @param {string} conversationId @param {string | null} trigger @param {string} text why there is no answer */
	const noteUnanswered = (conversationId, trigger, text) => {
		if (missing.has(trigger)) return;
		const again = button("Retry", () => retry(conversationId, trigger));
		missing.set(trigger, element("div", { class: "box unanswered" }, element("p", {}, text), again));
	};

	/** @param {string} conversationId @param {string | null} trigger @param {Run} run */
	const open = async (conversationId, trigger, run) => {
		/** @param {string} text */
		const fail = (text) => {
			settle(trigger);
			missing.set(trigger, problem(text, () => retry(conversationId, trigger)));
			handlers.onChange();
		};
		const onGone = () => {
			settle(trigger);
			handlers.onChange();
			handlers.onStale();
		};
		try {
			const { followAnswer } = await loadFollower();
			if (runs.get(trigger) !== run || run.follower) return;
			const { view, starts, progress } = run;
			run.starts = false;
			if (document.hidden) return starts ? api.startAnswer(conversationId, trigger) : undefined;
			run.follower = followAnswer(context, { conversationId, trigger, starts, progress }, {
				onProgress: view.showProgress,
				onConnection: (connected) => setConnection(`stream ${trigger}`, connected),
				onGone,
				onRefused(error) {
					if (error.status === 404) return onGone();
					fail(error.message);
					handlers.onStale();
				},
				onEnd(end, { content }) {
					settle(trigger);
					if (end.type === "error") fail(end.error);
					else if (end.messageId) {
						const status = end.type === "done" ? "completed" : "stopped";
						handlers.onAnswer({ id: end.messageId, replyTo: trigger, content, status }, view);
					} else {
						noteUnanswered(conversationId, trigger, "Stopped before there was an answer.");
						handlers.onChange();
					}
					handlers.onStale();
				},
			});
		} catch (error) {
			if (runs.get(trigger) === run) fail(describe(error));
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
			run.view.showProgress({ content: "", reasoning: "", lastEventId: null });
			runs.set(trigger, run);
			missing.delete(trigger);
			handlers.onChange();
		}
		run.starts ||= starts;
		if (!run.follower) void open(conversationId, trigger, run);
	};

	/** @param {string} conversationId @param {string | null} trigger */
	const retry = (conversationId, trigger) => {
		handlers.onRetry(trigger);
		follow(conversationId, trigger, { starts: true });
	};

	/** @param {string | null} trigger */
	const elementFor = (trigger) => runs.get(trigger)?.view.element ?? missing.get(trigger);

	return {
		follow,
		settle,
		elementFor,
		noteUnanswered,
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
		/** Stops following all answers; they go on without this tab. */
		forget: () => [...runs.keys()].forEach(settle),
		/** Removes all notices except this message's. @param {string | null} trigger */
		forgetMissingBut(trigger) {
			for (const key of missing.keys()) if (key !== trigger) missing.delete(key);
		},
		/** The elements that belong to none of these messages. @param {ReadonlySet<string | null>} known */
		elementsBut: (known) =>
			[...runs.keys(), ...missing.keys()].flatMap((trigger) => (!known.has(trigger) && elementFor(trigger)) || []),
	};
};
