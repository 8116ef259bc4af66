/**
 * The messages of one conversation that were loaded, in the server's order: the order of writing, which can differ from
 * reading order. Superseded messages are not among them. Nothing here touches the page.
 *
 * @import { Page } from "../server/api.js"
 * @import { Message } from "../server/resources.js"
 *
 * @typedef {ReturnType<typeof createMessageStore>} MessageStore
 */

/** A question's former answers, once `next`, which follows it, is superseded. @param {Message | undefined} question */
const formerAnswers = (question, /** @type {Message | undefined} */ next) => {
	const former = question?.formerAnswers ?? [];
	// Messages that were imported do not say what they answer.
	if (next?.role !== "assistant" || (next.replyTo && next.replyTo !== question?.id)) return former;
	const { id, createdAt } = next;
	return [...former, { id, createdAt }].sort((one, other) => (one.createdAt < other.createdAt ? -1 : 1));
};

export const createMessageStore = () => {
	/** Oldest first. @type {Message[]} */
	let all = [];
	/**
	 * The oldest messages of all, if they were loaded while some between them and `all` were not.
	 *
	 * @type {Message[]}
	 */
	let first = [];
	/** @type {string | null} */
	let olderCursor = null;
	/** Leads to the messages that follow `first`. @type {string | null} */
	let newerCursor = null;
	let version = 0;

	/** @param {string | null} id */
	const find = (id) => [...first, ...all].find((message) => message.id === id);

	/** Whether no message is missing any more between the first ones and the others. */
	const closeGap = () => {
		const known = new Set(all.map(({ id }) => id));
		if (olderCursor !== null && !first.some(({ id }) => known.has(id))) return;
		if (olderCursor !== null) all = [...first.filter(({ id }) => !known.has(id)), ...all];
		olderCursor = null;
		first = [];
	};

	/** @param {Message[]} messages */
	const change = (messages) => {
		version += 1;
		all = messages;
	};

	/** Each answer directly after the message that it answers. */
	const inReadingOrder = (messages = [...first, ...all]) => {
		const ids = new Set(messages.map(({ id }) => id));
		/** @type {Map<string | null, Message[]>} */
		const answers = Map.groupBy(messages, ({ replyTo }) => (replyTo && ids.has(replyTo) ? replyTo : null));
		return (answers.get(null) ?? []).flatMap((message) => [message, ...(answers.get(message.id) ?? [])]);
	};

	return {
		find,
		inReadingOrder: () => inReadingOrder(),
		/** The id of the message behind which some were not loaded; null if there are none. */
		gap: () => inReadingOrder(first).at(-1)?.id ?? null,
		size: () => first.length + all.length,
		/** Counts the local changes, so that an older response of the server does not undo them. */
		version: () => version,
		/** Leads to older messages; null if there are none. */
		olderCursor: () => olderCursor,
		/** Leads to the messages behind the first ones; null if nothing is missing there. */
		newerCursor: () => (first.length ? newerCursor : null),
		/** @param {string | null} trigger */
		isAnswered: (trigger) => trigger !== null && [...first, ...all].some(({ replyTo }) => replyTo === trigger),
		/**
		 * The message that an answer answers: the one it names, or else the last user message before it.
		 *
		 * @param {Message} answer
		 */
		questionOf(answer) {
			const ordered = inReadingOrder();
			const before = ordered.slice(0, ordered.indexOf(answer));
			return find(answer.replyTo) ?? before.findLast(({ role }) => role === "user");
		},
		/**
		 * Replaces the newest messages by the newest page, newest first. Returns false if there were local changes since.
		 *
		 * @param {Page<Message>} page
		 * @param {number} asOf the version at the time of the request
		 * @param {boolean} keepsOlder whether older messages stay, if the page overlaps them
		 */
		takeNewest(page, asOf, keepsOlder) {
			if (version !== asOf) return false;
			const newest = page.items.toReversed();
			const start = keepsOlder ? all.findIndex(({ id }) => id === newest[0]?.id) : 0;
			// If the page does not overlap the older messages, its cursor leads to them.
			if (start < 1) olderCursor = page.nextCursor;
			all = [...all.slice(0, Math.max(start, 0)), ...newest];
			if (!keepsOlder) first = [];
			closeGap();
			return true;
		},
		/** @param {Page<Message>} page @param {string} cursor with which it was requested */
		takeOlder(page, cursor) {
			if (cursor !== olderCursor) return;
			olderCursor = page.nextCursor;
			all = [...page.items.toReversed().filter(({ id }) => !all.some((other) => other.id === id)), ...all];
			closeGap();
		},
		/**
		 * Takes a page of the oldest messages, or of those that follow them.
		 *
		 * @param {Page<Message>} page oldest first
		 * @param {string | null} cursor with which it was requested; null: the oldest
		 */
		takeFirst(page, cursor) {
			if (cursor ? cursor !== newerCursor : first.length) return;
			newerCursor = page.nextCursor;
			first = [...first, ...page.items];
			closeGap();
		},
		/** Forgets the first messages: the last ones are read. */
		leaveFirst() {
			first = [];
		},
		/** The id of the last message. */
		newest: () => all.at(-1)?.id ?? null,
		/**
		 * Whether a user message with this content follows the message `after` (null: the beginning).
		 *
		 * @param {string} content
		 * @param {string | null} after
		 */
		isAsked(content, after) {
			const start = all.findIndex(({ id }) => id === after) + 1;
			if (after && !start) return false;
			return all.slice(start).some((message) => message.role === "user" && message.content === content);
		},
		/** Appends a message, unless it is known. @param {Message} message */
		add(message) {
			if (!find(message.id)) change([...all, message]);
		},
		/** Removes a message that has no answer. @param {string} id */
		remove(id) {
			first = first.filter((message) => message.id !== id);
			change(all.filter((message) => message.id !== id));
		},
		/**
		 * Supersedes all messages that follow this one in reading order, and stores this one as it is now.
		 *
		 * @param {Message} message
		 */
		rewindTo(message) {
			const ordered = inReadingOrder();
			const place = ordered.findIndex(({ id }) => id === message.id);
			// If it is far up, it can have been unloaded meanwhile. The next list tells its former answers.
			const isLoaded = place >= 0;
			const now = { ...message, formerAnswers: isLoaded ? formerAnswers(ordered[place], ordered[place + 1]) : [] };
			const kept = new Map(ordered.slice(0, place + 1).map((other) => [other.id, other])).set(message.id, now);
			// A message among the first ones, which is the last one now, has none missing before it.
			const isFirst = first.some(({ id }) => id === message.id);
			const before = isFirst ? first : all;
			if (isFirst) olderCursor = null;
			if (isFirst || !isLoaded) first = [];
			change(isLoaded ? before.flatMap(({ id }) => kept.get(id) ?? []) : [now]);
		},
	};
};
