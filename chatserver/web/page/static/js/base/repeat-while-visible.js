import { coalesce } from "./coalesce.js";

/**
 * Repeats `task`, which must not fail, as long as the page is looked at.
 *
 * @param {number} seconds from the end of one turn to the start of the next
 * @param {() => Promise<unknown>} task
 * @returns {() => void} takes the next turn at once
 */
export function repeatWhileVisible(seconds, task) {
	const turns = coalesce(task);
	let timer = 0;
	const now = async () => {
		if (document.hidden) return;
		await turns.request();
		clearTimeout(timer);
		timer = setTimeout(now, seconds * 1000);
	};
	document.addEventListener("visibilitychange", now);
	void now();
	return now;
}
