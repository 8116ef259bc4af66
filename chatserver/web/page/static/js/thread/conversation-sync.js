/** Keeps what is known of one conversation up to date with the server. */

import { ApiError } from "../server/api.js";
import { coalesce } from "../base/coalesce.js";

const PAGE = 50;
const LARGEST_PAGE = 200;
/** More would make every new word slower. Older ones are unloaded when the reader is at the end. */
const MOST_MESSAGES = 400;
const MOST_TRIES = 3;

/** @type {CreateConversationSync} */
export const createConversationSync = ({ api, transcript }, signal, known, thread) => {
	/** As last received from the server. @type {Conversation | null} */
	let conversation = null;
	/** Its `updatedAt` when the messages were listed last. */
	let listedAt = "";
	/** How often it is still asked for HTML that was not made in time. */
	let tries = 0;
	/** @type {Promise<void> | null} */
	let loadingOlder = null;
	let isGone = false;

	/** @param {Conversation} now */
	const take = (now) => {
		if (signal.aborted) return;
		conversation = now;
		thread.onConversation(now);
	};

	/**
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
		// In this order: the messages are never older than what the conversation says of them.
		const now = await orGone(api.getConversation(id, signal));
		const limit = Math.min(Math.max(known.size(), PAGE), LARGEST_PAGE);
		const page = await orGone(api.listMessages(id, { limit }, signal));
		signal.throwIfAborted();
		const keepsOlder = known.size() <= MOST_MESSAGES || loadingOlder !== null || !transcript.isAtEnd();
		if (!known.takeNewest(page, asOf, keepsOlder)) return void newest.request();
		if (listedAt !== now.updatedAt) tries = MOST_TRIES;
		if (!page.items.some(({ role, html }) => role === "assistant" && !html)) tries = 0;
		listedAt = now.updatedAt;
		take(now);
		thread.onMessages(now.activeRun);
		transcript.askForOlder();
	});

	/** @param {number} limit */
	const fetchOlder = async (limit) => {
		const [id, cursor] = [thread.id(), known.olderCursor()];
		if (!id || !cursor) return;
		known.takeOlder(await api.listMessages(id, { limit, cursor }, signal), cursor);
		thread.onOlder();
		transcript.askForOlder();
	};

	/** Calls that come while one is under way wait for that one. */
	const loadOlder = async (limit = PAGE) => {
		await (loadingOlder ??= fetchOlder(limit).finally(() => (loadingOlder = null)));
	};

	return {
		take,
		isGone: () => isGone,
		conversation: () => conversation,
		refresh: newest.request,
		loadOlder: () => void loadOlder().catch(() => {}), // The next scroll or poll asks again.
		async loadBackTo(messageId) {
			await newest.running();
			while (!known.find(messageId) && known.olderCursor()) await loadOlder(LARGEST_PAGE);
			return known.find(messageId);
		},
		async poll(isFollowing) {
			const id = thread.id();
			if (!id || newest.running()) return;
			const now = await orGone(api.getConversation(id, signal));
			if (isGone) return thread.onBack();
			const { activeRun, updatedAt } = now;
			const isNews = activeRun && !isFollowing(activeRun.triggerMessageId);
			if (isNews || newest.isDue() || listedAt !== updatedAt || tries-- > 0) await newest.request();
			else if (JSON.stringify(now) !== JSON.stringify(conversation)) take(now);
			transcript.askForOlder();
		},
	};
};
