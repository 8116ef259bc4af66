/**
 * Runs a task once at a time. Calls that come while it runs share one more run after it.
 *
 * @param {() => Promise<unknown>} task
 */
export function coalesce(task) {
	/** @type {Promise<void> | null} */
	let running = null;
	let isDue = false;

	const run = async () => {
		try {
			while (isDue) {
				isDue = false;
				await task();
			}
		} catch (error) {
			isDue = true;
			throw error;
		} finally {
			running = null;
		}
	};

	return {
		request() {
			isDue = true;
			return (running ??= run());
		},
		running: () => running,
		/** Whether it failed, and was not run since. */
		isDue: () => isDue,
	};
}
