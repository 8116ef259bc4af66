/**
 * Tasks that people start in a conversation: none is done twice at once, and an error is shown with a Retry button.
 *
 * @import { Composer } from "./composer.js"
 *
 * @typedef {(name: string, task: (conversationId: string) => Promise<void>) => Promise<void>} Attempt Runs a task,
 *   unless one of that name is under way. Without a conversation it does nothing.
 */

import { describe, problem } from "../ui/feedback.js";

/**
 * @param {Composer} composer
 * @param {{ id: () => string | null, isLeft: () => boolean }} thread
 */
export const createAttempt = (composer, thread) => {
	/** Names of the tasks under way. @type {Set<string>} */
	const busy = new Set();
	/** @type {Attempt} */
	const attempt = async (name, task) => {
		const id = thread.id();
		if (!id || busy.has(name)) return;
		busy.add(name);
		composer.clearProblem();
		try {
			await task(id);
		} catch (error) {
			const retry = () => attempt(name, task);
			if (!thread.isLeft()) composer.showProblem(problem(describe(error), retry));
		} finally {
			busy.delete(name);
		}
	};
	return attempt;
};
