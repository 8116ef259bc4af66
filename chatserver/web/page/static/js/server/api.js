/** The server's public API. Ids are UUIDs, so nothing in a path needs encoding. */

export class ApiError extends Error {
	/**
	 * @param {string} message fit to be shown
	 * @param {number} [status] of HTTP; 0 when no answer came
	 * @param {number} [retryAfterSeconds] 0 when the server did not say
	 */
	constructor(message, status = 0, retryAfterSeconds = 0) {
		super(message);
		this.status = status;
		this.retryAfterSeconds = retryAfterSeconds;
	}
}

/** Whether it only says that nobody waits any more. @param {unknown} error */
export function isAbort(error) {
	return error instanceof DOMException && error.name === "AbortError";
}

/** What became of a request, or of a module, that did not come. @param {unknown} error @returns {never} */
export function unreachable(error) {
	throw isAbort(error) ? error : new ApiError("The server cannot be reached");
}

/** How long the server may take to answer. A stream is answered at once, whatever it waits for. */
const TIMEOUT_MILLISECONDS = 15_000;

/** A fresh value for `Idempotency-Key`; `randomUUID` is not offered over plain HTTP. */
export function idempotencyKey() {
	return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

/** @param {string} path @param {object} query what is null or undefined is left out */
function withQuery(path, query) {
	const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
	return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** @param {Response} response */
async function refusal(response) {
	const { error, details } = await response.json().catch(() => ({}));
	const more = Array.isArray(details) ? details.map(({ message }) => message) : [];
	const message = [error ?? `The server answered ${response.status}`, ...more].join(". ");
	return new ApiError(message, response.status, Number(response.headers.get("Retry-After")) || 0);
}

/** @type {(onSignedOut: () => void) => Api} `onSignedOut` is told of every 401 but that of a sign-in */
export const createApi = (onSignedOut) => {
	/** @param {string} method @param {string} path @param {RequestOptions} [options] */
	const send = async (method, path, { query = {}, body, headers, signal } = {}) => {
		const response = await fetch(withQuery(`/api${path}`, query), {
			method,
			signal: AbortSignal.any([AbortSignal.timeout(TIMEOUT_MILLISECONDS), ...(signal ? [signal] : [])]),
			headers: body ? { ...headers, "Content-Type": "application/json" } : headers,
			body: body && JSON.stringify(body),
		}).catch(unreachable);
		if (response.ok) return response;
		if (response.status === 401 && !(method === "POST" && path === "/session")) onSignedOut();
		throw await refusal(response);
	};
	/** @param {Parameters<typeof send>} request @returns {Promise<any>} the body, of the contract's shape */
	const json = async (...request) => (await send(...request)).json().catch(unreachable);
	/** @param {Parameters<typeof send>} request */
	const done = async (...request) => void (await send(...request));

	/** @param {string} id @param {string | null} triggerMessageId @param {string | null} lastEventId */
	const streamPath = (id, triggerMessageId, lastEventId) =>
		withQuery(`/conversations/${id}/stream`, {
			triggerMessageId,
			lastEventId,
			onDisconnect: "continue",
			whenBusy: "enqueue",
		});

	/** @type {Api["probeStream"]} */
	const probeStream = async (id, triggerMessageId, lastEventId, signal) => {
		const response = await send("GET", streamPath(id, triggerMessageId, lastEventId), { signal });
		await response.body?.cancel();
		return response.status;
	};

	return {
		session: () => json("GET", "/session"),
		signIn: (token) => done("POST", "/session", { body: { token } }),
		signOut: () => done("DELETE", "/session"),

		listConversations: (company, query, signal) =>
			json("GET", `/companies/${company}/conversations`, { query, signal }),
		createConversation: (company, body) => json("POST", `/companies/${company}/conversations`, { body }),
		getConversation: (id, signal) => json("GET", `/conversations/${id}`, { signal }),
		updateConversation: (id, body) => json("PATCH", `/conversations/${id}`, { body }),
		deleteConversation: (id) => done("DELETE", `/conversations/${id}`),
		act: (id, action) => json("POST", `/conversations/${id}/${action}`),
		exportUrl: (id, format) => `/api/conversations/${id}/export?format=${format}`,

		listMessages: (id, query, signal) =>
			json("GET", `/conversations/${id}/messages`, { query: { ...query, order: "desc", render: "html" }, signal }),
		addMessage: (id, fields, key) =>
			json("POST", `/conversations/${id}/messages`, {
				body: { role: "user", ...fields },
				headers: { "Idempotency-Key": key },
			}),
		editMessage: (id, message, content) => json("PUT", `/conversations/${id}/messages/${message}`, { body: { content } }),
		rewind: (id, message) => done("POST", `/conversations/${id}/messages/${message}/rewind`),
		branch: (id, messageId) => json("POST", `/conversations/${id}/branch`, { body: { messageId } }),
		listBookmarks: (company, query, signal) => json("GET", `/companies/${company}/bookmarks`, { query, signal }),
		setBookmark: (id, message, isSet) =>
			done(isSet ? "PUT" : "DELETE", `/conversations/${id}/messages/${message}/bookmark`),
		stop: (id) => json("POST", `/conversations/${id}/stop`, { body: { keep: true } }),

		search: (company, query, signal) => json("GET", `/companies/${company}/search`, { query, signal }),
		listAgents: (company, query) => json("GET", `/companies/${company}/agents`, { query }),

		streamUrl: (...answer) => `/api${streamPath(...answer)}`,
		probeStream,
		startAnswer: (id, trigger) => void probeStream(id, trigger, null).catch(() => {}),
	};
};
