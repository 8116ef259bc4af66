/**
 * What the tabs of one browser settle among themselves: news, and who of them holds a connection.
 *
 * Over HTTP/1.1 a browser opens six connections to a server, for all tabs together, and every event stream holds one
 * for long. So one tab reads each answer and tells the others, and no more than `STREAM_SLOTS` are read at once.
 */

const STREAM_SLOTS = 4;
const NAME = "chatserver";

/** @type {() => BrowserTabs} */
export const createBrowserTabs = () => {
	const channel = new BroadcastChannel(NAME);

	/** In whichever is free first. @param {AbortSignal} signal @param {() => Promise<void>} read */
	const inSlot = async (signal, read) => {
		const others = new AbortController();
		const waiting = { signal: AbortSignal.any([signal, others.signal]) };
		/** @type {Promise<void> | undefined} */
		let reading;
		const take = () => {
			// Several can be free at once.
			if (reading) return;
			others.abort();
			return (reading = read());
		};
		const slots = Array.from({ length: STREAM_SLOTS }, (_, index) => `${NAME} stream ${index}`);
		await Promise.allSettled(slots.map((slot) => navigator.locks.request(slot, waiting, take)));
		await reading;
	};

	return {
		canShare: "locks" in navigator,
		tell: (news) => channel.postMessage(news),
		listen(listener, signal) {
			channel.addEventListener("message", ({ data }) => data?.kind && listener(data), { signal });
		},
		async whenLeading(answer, signal, read) {
			if (!this.canShare) return read();
			try {
				await navigator.locks.request(`${NAME} answer ${answer}`, { signal }, () => inSlot(signal, read));
			} catch (error) {
				if (!signal.aborted) throw error;
			}
		},
	};
};
