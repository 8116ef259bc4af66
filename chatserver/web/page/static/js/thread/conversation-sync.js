/**
 * Keeps the loaded conversation and its messages up to date with the server.
 *
 * @import { ApiClient } from "../server/api.js"
 * @import { MessageStore } from "./message-store.js"
 * @import { Transcript } from "./transcript.js"
 */

import { coalesce } from "../base/coalesce.js";
import { ApiError } from "../server/api.js";

const PAGE_SIZE = 50;
const LARGEST_PAGE = 200;
/** More messages would make each new word slower. Older ones are unloaded while the end is in view. */
const MOST_MESSAGES = 400;
const MOST_TRIES = 3;

/**
 * @param {{ api: ApiClient, transcript: Transcript }} context
 * @param {AbortSignal} signal the thread was left
 * @param {MessageStore} known
 * @param {object} thread
 * @param {() => string | null} thread.id
 * @param {(conversation: Api.Conversation) => void} thread.onConversation
 * @param {(run: Api.ActiveRun | null) => void} thread.onMessages the newest messages are known; `run` is under way
 * @param {() => void} thread.onOlder
 * @param {() => void} thread.onGone the conversation does not exist, or was deleted
 * @param {() => void} thread.onBack a deleted conversation was restored
 */
export const createConversationSync = ({ api, transcript }, signal, known, thread) => {
	/** As it was received last. @type {Api.Conversation | null} */
	let conversation = null;
	/** The conversation's `updatedAt` when its messages were listed last. */
	let listedAt = "";
	/** How many more polls ask for HTML that the server had not rendered in time. */
	let tries = 0;
	/** @type {Promise<void> | null} */
	let loadingOlder = null;
	/** @type {Promise<void> | null} */
	let loadingNewer = null;
	let isGone = false;

	/** Takes the conversation from the response to another request. @param {Api.Conversation} now */
	const take = (now) => {
		if (signal.aborted) return;
		conversation = now;
		thread.onConversation(now);
	};

	/**
	 * Notices if the conversation is gone.
	 *
	 * @template T
	 * @param {Promise<T>} request
	 */
	const orGone = (request) =>
		request.catch((error) => {
			if (error instanceof ApiError && error.status === 404 && !signal.aborted && !isGone) {
				isGone = true;
				thread.onGone();
			}
			throw error;
		});

	const newest = coalesce(async () => {
		const id = thread.id();
		if (!id) return;
		const asOf = known.version();
		// In this order, so that the messages are never older than the conversation's `updatedAt`.
		const now = await orGone(api.getConversation(id, signal));
		const limit = Math.min(Math.max(known.size(), PAGE_SIZE), LARGEST_PAGE);
		const page = await orGone(api.listMessages(id, { limit }, signal));
		signal.throwIfAborted();
		const keepsOlder = known.size() <= MOST_MESSAGES || loadingOlder !== null || !transcript.isAtEnd();
		if (!known.takeNewest(page, asOf, keepsOlder)) return void newest.request();
		if (listedAt !== now.updatedAt) tries = MOST_TRIES;
		const isPlain = page.items.some(({ role, html }) => role === "assistant" && !html);
		if (!isPlain) tries = 0;
		listedAt = now.updatedAt;
		take(now);
		thread.onMessages(now.activeRun);
		transcript.askForOlder();
	});

	/** @param {number} limit */
	const fetchOlder = async (limit) => {
		const [id, cursor] = [thread.id(), known.olderCursor()];
		if (!id || !cursor) return;
		known.takeOlder(await orGone(api.listMessages(id, { limit, cursor }, signal)), cursor);
		thread.onOlder();
		transcript.askForOlder();
	};

	/** Loads the oldest messages of all, or those that follow them. @param {string | null} cursor */
	const fetchFirst = async (cursor, limit = PAGE_SIZE) => {
		const id = thread.id();
		if (!id) return;
		const query = { limit, cursor, order: /** @type {const} */ ("asc") };
		known.takeFirst(await orGone(api.listMessages(id, query, signal)), cursor);
		thread.onOlder();
		transcript.askForOlder();
	};

	/** A call during another one waits for that one. */
	const loadOlder = async (limit = PAGE_SIZE) => {
		await (loadingOlder ??= fetchOlder(limit).finally(() => (loadingOlder = null)));
	};

	return {
		take,
		isGone: () => isGone,
		conversation: () => conversation,
		/** Loads the newest messages. */
		refresh: newest.request,
		loadOlder: () => void loadOlder().catch(() => {}), // The next scroll or poll tries again.
		/**
		 * Loads the oldest messages, without those between them and the others.
		 *
		 * @param {string} [messageId] the last one that is needed; by default one page is enough
		 */
		async loadFirst(messageId) {
			await newest.running();
			if (known.olderCursor() && !known.gap()) await fetchFirst(null);
			while (messageId && !known.find(messageId) && known.newerCursor()) {
				await fetchFirst(known.newerCursor(), LARGEST_PAGE);
			}
		},
		/** Loads messages behind the oldest ones. */
		loadNewer() {
			const cursor = known.newerCursor();
			if (cursor) loadingNewer ??= fetchFirst(cursor).catch(() => {}).finally(() => (loadingNewer = null));
		},
		/** Loads all messages back to this one and returns it; undefined if there is none. @param {string} messageId */
		async loadBackTo(messageId) {
			await newest.running();
			while (!known.find(messageId) && known.olderCursor()) await loadOlder(LARGEST_PAGE);
			return known.find(messageId);
		},
		/** Looks for changes that this tab was not told of. @param {(trigger: string | null) => boolean} isFollowing */
		async poll(isFollowing) {
			const id = thread.id();
			if (!id || newest.running()) return;
			const now = await orGone(api.getConversation(id, signal));
			if (isGone) return thread.onBack();
			if (newest.running()) return; // What this would find out was asked for meanwhile.
			const { activeRun, updatedAt } = now;
			const isNews = activeRun && !isFollowing(activeRun.triggerMessageId);
			if (isNews || newest.isDue() || listedAt !== updatedAt || tries-- > 0) await newest.request();
			else if (JSON.stringify(now) !== JSON.stringify(conversation)) take(now);
			transcript.askForOlder();
		},
	};
};
