/**
 * A client of the server's API. Its requests fail with an `ApiError`, or with an `AbortError` if they are aborted. Ids
 * are UUIDs, so nothing in a path needs encoding.
 *
 * @import { Message } from "./resources.js"
 *
 * @typedef {ReturnType<typeof createApi>} ApiClient
 *
 * @typedef {object} RequestOptions
 * @property {object} [query] null and undefined are left out
 * @property {object} [body] sent as JSON
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 * @property {boolean} [keepalive] the request goes on when the page is left
 */

/**
 * @template T
 * @typedef {{ [K in keyof T]: T[K] | null }} OrNull
 */

/**
 * @template T
 * @typedef {{ items: T[], hasMore: boolean, nextCursor: string | null }} Page
 */

import { t } from "../base/language.js";
import { refusalText } from "./explanations.js";

export class ApiError extends Error {
	/**
	 * @param {string} message for people
	 * @param {number} [status] of the HTTP response; 0 if there was none
	 * @param {number} [retryAfterSeconds] 0 if the server did not say
	 * @param {Api.Detail[]} [details] what is wrong with which field
	 */
	constructor(message, status = 0, retryAfterSeconds = 0, details = []) {
		super(message);
		this.status = status;
		this.retryAfterSeconds = retryAfterSeconds;
		this.details = details;
	}
}

/** Whether the request was aborted because nobody waits for it any more. @param {unknown} error */
export function isAbort(error) {
	return error instanceof DOMException && error.name === "AbortError";
}

/** Throws what a request without a response means for people. @param {unknown} error @returns {never} */
export function unreachable(error) {
	throw isAbort(error) ? error : new ApiError(t("The server cannot be reached"));
}

/** How long a response may take to begin. A stream's response begins at once, whatever the stream waits for. */
const TIMEOUT_MILLISECONDS = 15_000;

/** A new value for `Idempotency-Key`. Browsers do not offer `randomUUID` over plain HTTP. */
export function idempotencyKey() {
	return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

/** @param {string} path @param {object} query null and undefined are left out */
function withQuery(path, query) {
	const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
	return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** @param {Response} response */
async function refusal(response) {
	const { error, details } = await response.json().catch(() => ({}));
	const faults = Array.isArray(details) ? details : [];
	const parts = [refusalText(response.status, error), ...faults.map(({ message }) => message)];
	return new ApiError(parts.join(". "), response.status, Number(response.headers.get("Retry-After")) || 0, faults);
}

/**
 * @param {object} [handlers]
 * @param {() => void} [handlers.onSignedOut] the session is over. From then on no request is sent but a sign-in
 * @param {() => void} [handlers.onForbidden] the role of who is here does not allow what was asked for
 */
export const createApi = ({ onSignedOut, onForbidden } = {}) => {
	let isOver = false;

	/** @param {string} method @param {string} path @param {RequestOptions} [options] */
	const send = async (method, path, { query = {}, body, headers, signal, keepalive } = {}) => {
		const isSignIn = method === "POST" && path === "/session";
		if (isOver && !isSignIn) throw new ApiError(t("Sign in first"), 401);
		const response = await fetch(withQuery(`/api${path}`, query), {
			method,
			keepalive,
			redirect: "manual",
			signal: AbortSignal.any([AbortSignal.timeout(TIMEOUT_MILLISECONDS), ...(signal ? [signal] : [])]),
			headers: body ? { ...headers, "Content-Type": "application/json" } : headers,
			body: body && JSON.stringify(body),
		}).catch(unreachable);
		if (response.ok) return response;
		// The server never redirects, but a proxy before it may do so to have somebody sign in.
		if ((response.status === 401 || response.type === "opaqueredirect") && !isSignIn) {
			isOver = true;
			onSignedOut?.();
			throw new ApiError(t("Sign in first"), 401);
		}
		const refused = await refusal(response);
		if (response.status === 403) onForbidden?.();
		throw refused;
	};
	/** @param {Parameters<typeof send>} request @returns {Promise<any>} the body */
	const json = async (...request) => (await send(...request)).json().catch(unreachable);
	/** For responses without a body. @param {Parameters<typeof send>} request */
	const done = async (...request) => void (await send(...request));

	/**
	 * @param {string} id of the conversation
	 * @param {string | null} triggerMessageId
	 * @param {string | null} lastEventId
	 * @param {"enqueue" | "interrupt"} [whenBusy]
	 */
	const streamPath = (id, triggerMessageId, lastEventId, whenBusy = "enqueue") =>
		withQuery(`/conversations/${id}/stream`, { triggerMessageId, lastEventId, onDisconnect: "continue", whenBusy });

	/**
	 * Asks for a stream only to learn the status of the response, which an EventSource does not tell: 200, or 204 if all
	 * of the answer was read before. An answer that nobody asked for yet is started.
	 *
	 * @param {string} id of the conversation
	 * @param {string | null} triggerMessageId
	 * @param {string | null} lastEventId
	 * @param {Pick<RequestOptions, "signal" | "keepalive"> & { whenBusy?: "enqueue" | "interrupt" }} [how]
	 */
	const probeStream = async (id, triggerMessageId, lastEventId, { whenBusy, ...options } = {}) => {
		const response = await send("GET", streamPath(id, triggerMessageId, lastEventId, whenBusy), options);
		await response.body?.cancel();
		return response.status;
	};

	return {
		/** From now on no request is sent but a sign-in: somebody else may be here. */
		end: () => void (isOver = true),
		/** @type {() => Promise<Api.Session>} */
		session: () => json("GET", "/session"),
		/** @type {(token: string) => Promise<void>} */
		signIn: (token) => done("POST", "/session", { body: { token } }),
		/** @type {(everywhere: boolean) => Promise<void>} */
		signOut: (everywhere) => done("DELETE", "/session", { query: { everywhere: everywhere || null } }),

		/**
		 * @type {(company: string, query: OrNull<Api.ListConversationsQuery>, signal?: AbortSignal) =>
		 *   Promise<Api.ConversationPage>}
		 */
		listConversations: (company, query, signal) =>
			json("GET", `/companies/${company}/conversations`, { query, signal }),
		/** @type {(company: string, body: Api.CreateConversation) => Promise<Api.Conversation>} */
		createConversation: (company, body) => json("POST", `/companies/${company}/conversations`, { body }),
		/** @type {(id: string, signal?: AbortSignal) => Promise<Api.Conversation>} */
		getConversation: (id, signal) => json("GET", `/conversations/${id}`, { signal }),
		/** @type {(id: string, changes: Api.UpdateConversation) => Promise<Api.Conversation>} */
		updateConversation: (id, body) => json("PATCH", `/conversations/${id}`, { body }),
		/** @type {(id: string) => Promise<void>} */
		deleteConversation: (id) => done("DELETE", `/conversations/${id}`),
		/** For good, deleted before or not; also while the page is being left. @type {(id: string) => Promise<void>} */
		eraseConversation: (id) => done("DELETE", `/conversations/${id}`, { query: { erase: "true" }, keepalive: true }),
		/**
		 * @type {(id: string, action: "archive" | "unarchive" | "pin" | "unpin" | "restore") => Promise<Api.Conversation>}
		 */
		act: (id, action) => json("POST", `/conversations/${id}/${action}`),
		/** @type {(id: string, format: Api.ExportConversationQuery["format"]) => string} */
		exportUrl: (id, format) => `/api/conversations/${id}/export?format=${format}`,

		/**
		 * The newest messages first, unless the query says otherwise: answers with their `html`, questions with their
		 * `formerAnswers`.
		 *
		 * @type {(id: string, query: OrNull<Api.ListMessagesQuery>, signal?: AbortSignal) =>
		 *   Promise<Api.RenderedMessagePage>}
		 */
		listMessages: (id, query, signal) =>
			json("GET", `/conversations/${id}/messages`, {
				query: { order: "desc", ...query, render: "html" },
				signal,
			}),
		/**
		 * Adds a user message. `key` is the same for each try to send it.
		 *
		 * @type {(id: string, fields: Omit<Api.CreateMessage, "role">, key: string) => Promise<Message>}
		 */
		addMessage: (id, fields, key) =>
			json("POST", `/conversations/${id}/messages`, {
				body: { role: "user", ...fields },
				headers: { "Idempotency-Key": key },
			}),
		/** @type {(id: string, message: string, content: string) => Promise<Message>} */
		editMessage: (id, message, content) => json("PUT", `/conversations/${id}/messages/${message}`, { body: { content } }),
		/** @type {(id: string, message: string) => Promise<void>} */
		rewind: (id, message) => done("POST", `/conversations/${id}/messages/${message}/rewind`),
		/**
		 * Makes a superseded message live again, with its continuation; what stands in its place is superseded.
		 *
		 * @type {(id: string, messageId: string) => Promise<Api.Restored>}
		 */
		restore: (id, messageId) => json("POST", `/conversations/${id}/messages/${messageId}/restore`),
		/** Erases a message and the answers to it, for good. @type {(id: string, messageId: string) => Promise<void>} */
		eraseMessage: (id, messageId) => done("DELETE", `/conversations/${id}/messages/${messageId}`),
		/** @type {(id: string, messageId: string) => Promise<Api.Conversation>} */
		branch: (id, messageId) => json("POST", `/conversations/${id}/branch`, { body: { messageId } }),
		/**
		 * @type {(company: string, query: OrNull<Api.ListBookmarksQuery>, signal?: AbortSignal) => Promise<Api.BookmarkPage>}
		 */
		listBookmarks: (company, query, signal) => json("GET", `/companies/${company}/bookmarks`, { query, signal }),
		/** @type {(id: string, message: string, isSet: boolean) => Promise<void>} */
		setBookmark: (id, message, isSet) =>
			done(isSet ? "PUT" : "DELETE", `/conversations/${id}/messages/${message}/bookmark`),
		/** @type {(company: string, body: Api.RenderText, signal?: AbortSignal) => Promise<Api.RenderedBlocks>} */
		render: (company, body, signal) => json("POST", `/companies/${company}/render`, { body, signal }),
		/**
		 * Stops the answer that is being generated and keeps what was shown of it.
		 *
		 * @type {(id: string) => Promise<Api.Stopped>}
		 */
		stop: (id) => json("POST", `/conversations/${id}/stop`, { body: { keep: true } }),

		/** @type {(company: string, query: OrNull<Api.SearchQuery>, signal?: AbortSignal) => Promise<Api.SearchHitPage>} */
		search: (company, query, signal) => json("GET", `/companies/${company}/search`, { query, signal }),
		/** @type {(company: string, query: OrNull<Api.ListAgentsQuery>) => Promise<Api.AgentPage>} */
		listAgents: (company, query) => json("GET", `/companies/${company}/agents`, { query }),
		/** @type {(company: string, body: Api.CreateAgent) => Promise<Api.Agent>} */
		createAgent: (company, body) => json("POST", `/companies/${company}/agents`, { body }),
		/** @type {(id: string, body: Api.UpdateAgent) => Promise<Api.Agent>} */
		updateAgent: (id, body) => json("PATCH", `/agents/${id}`, { body }),
		/** @type {(id: string) => Promise<void>} */
		deleteAgent: (id) => done("DELETE", `/agents/${id}`),

		/** Of a company; by default of all companies of whoever asks. @type {(company?: string) => Promise<Api.Providers>} */
		listProviders: (companyId) => json("GET", "/providers", { query: { companyId } }),

		/**
		 * The address of an answer's event stream, from after `lastEventId` on. The answer is generated to its end even if
		 * nobody reads it, so it is there for people who looked elsewhere meanwhile. It waits while another is generated.
		 *
		 * @type {(id: string, trigger: string | null, lastEventId: string | null) => string}
		 */
		streamUrl: (...answer) => `/api${streamPath(...answer)}`,
		probeStream,
		/**
		 * Starts an answer without reading it, after the one that is being generated; also while the page is being left.
		 * Never fails.
		 *
		 * @param {string} id
		 * @param {string | null} trigger
		 */
		startAnswer: (id, trigger) => probeStream(id, trigger, null, { keepalive: true }).then(() => {}, () => {}),
		/** Starts an answer without reading it, and ends the other one. @param {string} id @param {string} trigger */
		interruptFor: (id, trigger) => probeStream(id, trigger, null, { whenBusy: "interrupt" }),
	};
};
