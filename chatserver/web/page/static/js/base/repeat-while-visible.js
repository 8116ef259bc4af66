import { coalesce } from "./coalesce.js";

/**
 * Repeats `task`, which must not fail, while the page is visible.
 *
 * @param {number} seconds from the end of one run to the start of the next
 * @param {() => Promise<unknown>} task
 * @returns {() => Promise<void>} starts the next run at once
 */
export function repeatWhileVisible(seconds, task) {
	const runs = coalesce(task);
	let timer = 0;
	const runNow = async () => {
		if (document.hidden) return;
		await runs.request();
		clearTimeout(timer);
		timer = setTimeout(runNow, seconds * 1000);
	};
	document.addEventListener("visibilitychange", runNow);
	void runNow();
	return runNow;
}
