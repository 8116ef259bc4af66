/**
 * Answers that somebody stopped before they had begun. Their requests may still be on the way: such an answer is
 * stopped again when it begins.
 *
 * @import { ApiClient } from "../server/api.js"
 */

/** How long the request for an answer may still be on its way when the answer is stopped. */
const LONGEST_WAY_MILLISECONDS = 10_000;

/** @param {ApiClient} api */
export const createEarlyStops = (api) => {
	/** By trigger: until when its answer is stopped again. @type {Map<string | null, number>} */
	const until = new Map();
	return {
		/** @param {string | null} trigger */
		add: (trigger) => void until.set(trigger, Date.now() + LONGEST_WAY_MILLISECONDS),
		/** The answer is wanted after all. @param {string | null} trigger */
		forget: (trigger) => void until.delete(trigger),
		/** @param {string | null} trigger */
		has: (trigger) => (until.get(trigger) ?? 0) > Date.now(),
		/** Stops the answer now that it has begun. @param {string} conversationId @param {string | null} trigger */
		async stop(conversationId, trigger) {
			const { stopped } = await api.stop(conversationId).catch(() => ({ stopped: false })); // The next poll tries again.
			if (stopped) until.delete(trigger);
		},
	};
};
