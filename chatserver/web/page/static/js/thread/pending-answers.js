/**
 * The answers of one conversation that are in the making, or did not come; each by the message it answers (null where
 * there is none).
 */

import { button, element } from "../ui/dom.js";
import { describe, problem } from "../ui/feedback.js";
import { loadFollower } from "../ui/on-demand.js";

/**
 * `follower` is null while the tab is hidden: hidden tabs hold no connection.
 *
 * @typedef {{
 *   view: MessageView, starts: boolean, follower: ReturnType<FollowAnswer> | null, progress: Progress | null,
 * }} Run
 */

/** @type {CreatePendingAnswers} */
export const createPendingAnswers = (context, handlers) => {
	const { api, setConnection } = context;
	/** @type {Map<string | null, Run>} */
	const runs = new Map();
	/** What stands in the place of an answer that is not there. @type {Map<string | null, HTMLElement>} */
	const missing = new Map();

	/** @param {string | null} trigger */
	const settle = (trigger) => {
		const run = runs.get(trigger);
		if (!run) return undefined;
		run.follower?.close();
		runs.delete(trigger);
		setConnection(`stream ${trigger}`, true);
		return run.view;
	};

	/** @type {PendingAnswers["noteUnanswered"]} */
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

	/** @type {PendingAnswers["follow"]} */
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

	/** @type {PendingAnswers["elementFor"]} */
	const elementFor = (trigger) => runs.get(trigger)?.view.element ?? missing.get(trigger);

	return {
		follow,
		settle,
		elementFor,
		noteUnanswered,
		isAnswering: () => runs.size > 0,
		isFollowing: (trigger) => runs.has(trigger),
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
		resume(conversationId) {
			for (const trigger of runs.keys()) follow(conversationId, trigger, { starts: false });
		},
		triggers: () => [...runs.keys()],
		forget: () => [...runs.keys()].forEach(settle),
		forgetMissingBut(trigger) {
			for (const key of missing.keys()) if (key !== trigger) missing.delete(key);
		},
		elementsBut: (known) =>
			[...runs.keys(), ...missing.keys()].flatMap((trigger) => (!known.has(trigger) && elementFor(trigger)) || []),
	};
};
