/**
 * The tabs of one browser exchange news and share the connections to the server.
 *
 * Over HTTP/1.1 a browser opens six connections to a server, for all tabs together, and each event stream occupies one
 * for a long time. So only one tab reads an answer and tells the others, and at most `STREAM_SLOTS` are read at once.
 *
 * @typedef {ReturnType<typeof createBrowserTabs>} BrowserTabs
 *
 * @typedef {{ content: string, reasoning: string, lastEventId: string | null }} Progress How far an answer has come.
 *
 * @typedef { { kind: "agents" }
 *   | { kind: "bookmark", messageId: string, isSet: boolean }
 *   | { kind: "person", person: string }
 *   | { kind: "changed", conversationId: string | null }
 *   | { kind: "answering", answer: string, conversationId: string, trigger: string | null }
 *   | { kind: "asked", answer: string }
 *   | { kind: "progress", answer: string, progress: Progress }
 *   | { kind: "event", answer: string, event: Api.StreamEvent, id: string }
 * } News `answer` is the same name in all tabs.
 */

const STREAM_SLOTS = 4;
const NAME = "chatserver";

export const createBrowserTabs = () => {
	const channel = new BroadcastChannel(NAME);

	/** Runs `read` in the slot that is free first. @param {AbortSignal} signal @param {() => Promise<void>} read */
	const inSlot = async (signal, read) => {
		const others = new AbortController();
		const waiting = { signal: AbortSignal.any([signal, others.signal]) };
		/** @type {Promise<void> | undefined} */
		let reading;
		const take = () => {
			// Several slots can be free at once; only the first one is used.
			if (reading) return;
			others.abort();
			return (reading = read());
		};
		const slots = Array.from({ length: STREAM_SLOTS }, (_, index) => `${NAME} stream ${index}`);
		await Promise.allSettled(slots.map((slot) => navigator.locks.request(slot, waiting, take)));
		await reading;
	};

	/** @param {string} name @param {AbortSignal} signal ends the wait @param {() => Promise<void>} task */
	const alone = async (name, signal, task) => {
		try {
			await navigator.locks.request(`${NAME} ${name}`, { signal }, task);
		} catch (error) {
			if (!signal.aborted) throw error;
		}
	};

	return {
		/** Whether one tab can read for all. Browsers offer Web Locks over HTTPS and on loopback only. */
		canShare: "locks" in navigator,
		/** Sends to all other tabs. @param {News} news */
		tell: (news) => channel.postMessage(news),
		/** @param {(news: News) => void} listener @param {AbortSignal} [signal] */
		listen(listener, signal) {
			channel.addEventListener("message", ({ data }) => data?.kind && listener(data), { signal });
		},
		/**
		 * Runs `read` once this tab is the one that reads the answer and a connection is free. If tabs cannot share,
		 * it runs at once.
		 *
		 * @param {string} answer
		 * @param {AbortSignal} signal ends the wait, not `read`
		 * @param {() => Promise<void>} read
		 */
		async whenLeading(answer, signal, read) {
			return this.canShare ? alone(`answer ${answer}`, signal, () => inSlot(signal, read)) : read();
		},
		/**
		 * Runs `task` once no other tab runs one of this name. If tabs cannot share, it runs at once.
		 *
		 * @param {string} name
		 * @param {AbortSignal} signal ends the wait, not `task`
		 * @param {() => Promise<void>} task
		 */
		async whenAlone(name, signal, task) {
			return this.canShare ? alone(name, signal, task) : task();
		},
		/**
		 * Lets the other tabs know that this one does something.
		 *
		 * @param {string} what
		 * @param {AbortSignal} signal this tab does it no more
		 */
		hold(what, signal) {
			if (!this.canShare || signal.aborted) return;
			const end = new Promise((resolve) => signal.addEventListener("abort", resolve));
			navigator.locks.request(`${NAME} ${what}`, { mode: "shared", signal }, () => end).catch(() => {});
		},
		/** Whether a tab does that, this one included. If tabs cannot share, nothing is known. @param {string} what */
		async isHeld(what) {
			if (!this.canShare) return false;
			const { held = [] } = await navigator.locks.query();
			return held.some(({ name }) => name === `${NAME} ${what}`);
		},
	};
};
