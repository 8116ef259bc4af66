/**
 * The event stream of one answer, from its opening over lost connections to the event that ends it.
 *
 * If the network is cut, the EventSource itself comes back with `Last-Event-ID`. But it gives up at each status other
 * than 200 and does not tell which one it was; then this module asks the server.
 *
 * @import { ApiClient } from "../server/api.js"
 *
 * @typedef {Api.DoneEvent | Api.StoppedEvent | Api.ErrorEvent} EndEvent
 *
 * @typedef {object} StreamHandlers
 * @property {(event: Api.StreamEvent, id: string) => void} onEvent
 * @property {(connected: boolean) => void} onConnection
 * @property {() => void} onGone the server has nothing more to send: what is stored is the truth
 * @property {(error: ApiError) => void} onRefused the same request would be refused again
 */

import { t } from "../base/language.js";
import { ApiError } from "../server/api.js";

const LONGEST_WAIT_SECONDS = 10;
/** How often a server that responds, but cannot serve now, is asked before the person is told. */
const MOST_TRIES = 5;
const NO_SERVER = new Set([0, 502, 504]);
const NOT_NOW = new Set([429, 500, 503]);

/** @param {Api.StreamEvent} event @returns {event is EndEvent} */
export const isEnd = (event) => event.type === "done" || event.type === "stopped" || event.type === "error";

/**
 * Opens the stream from after `lastEventId` on. The caller closes it after an end event. No handler is called after
 * `close`.
 *
 * @param {ApiClient} api
 * @param {{ conversationId: string, trigger: string | null }} answer
 * @param {string | null} lastEventId
 * @param {StreamHandlers} handlers
 */
export const openStream = (api, { conversationId, trigger }, lastEventId, handlers) => {
	const abort = new AbortController();
	/** @type {EventSource} */
	let source;
	let tries = 0;
	let timer = 0;

	const close = () => {
		abort.abort();
		clearTimeout(timer);
		source.close();
	};

	const connect = () => {
		source = new EventSource(api.streamUrl(conversationId, trigger, lastEventId));
		source.onopen = () => handlers.onConnection(true);
		source.onmessage = (message) => {
			tries = 0;
			lastEventId = message.lastEventId;
			handlers.onEvent(JSON.parse(message.data), lastEventId);
		};
		source.onerror = () => {
			handlers.onConnection(false);
			if (source.readyState === EventSource.CLOSED) void recover();
		};
	};

	const recover = async () => {
		let waitSeconds = Math.min(2 ** tries, LONGEST_WAIT_SECONDS);
		tries += 1;
		try {
			const status = await api.probeStream(conversationId, trigger, lastEventId, abort);
			if (status === 204) return handlers.onGone();
			if (tries > MOST_TRIES) return handlers.onRefused(new ApiError(t("The answer does not come through"), status));
		} catch (error) {
			if (!(error instanceof ApiError)) return; // The stream was closed meanwhile.
			const patient = NO_SERVER.has(error.status) || (NOT_NOW.has(error.status) && tries <= MOST_TRIES);
			if (!patient) return handlers.onRefused(error);
			waitSeconds = Math.min(error.retryAfterSeconds || waitSeconds, LONGEST_WAIT_SECONDS);
		}
		if (!abort.signal.aborted) timer = setTimeout(connect, waitSeconds * 1000);
	};

	connect();
	return { close };
};
