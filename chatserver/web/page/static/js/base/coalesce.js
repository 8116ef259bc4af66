/**
 * Returns a task of which at most one run is under way. Requests that come during a run share one more run after it.
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
		/** Whether the last run failed. */
		isDue: () => isDue,
	};
}
