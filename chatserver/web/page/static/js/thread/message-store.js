/** The messages of one conversation that are known here, in the server's order. Nothing here touches the page. */

/** @type {() => MessageStore} */
export const createMessageStore = () => {
	/** Oldest first. @type {Message[]} */
	let all = [];
	/** @type {string | null} */
	let olderCursor = null;
	let version = 0;

	/** @param {string | null} id */
	const find = (id) => all.find((message) => message.id === id);

	/** @param {Message[]} messages */
	const change = (messages) => {
		version += 1;
		all = messages;
	};

	const inReadingOrder = () => {
		const ids = new Set(all.map(({ id }) => id));
		/** @type {Map<string | null, Message[]>} */
		const answers = Map.groupBy(all, ({ replyTo }) => (replyTo && ids.has(replyTo) ? replyTo : null));
		return (answers.get(null) ?? []).flatMap((message) => [message, ...(answers.get(message.id) ?? [])]);
	};

	return {
		find,
		inReadingOrder,
		size: () => all.length,
		version: () => version,
		olderCursor: () => olderCursor,
		isAnswered: (trigger) => trigger !== null && all.some(({ replyTo }) => replyTo === trigger),
		questionOf(answer) {
			const ordered = inReadingOrder();
			const before = ordered.slice(0, ordered.indexOf(answer));
			return find(answer.replyTo) ?? before.findLast(({ role }) => role === "user");
		},
		takeNewest(page, asOf, keepsOlder) {
			if (version !== asOf) return false;
			const newest = page.items.toReversed();
			const start = keepsOlder ? all.findIndex(({ id }) => id === newest[0]?.id) : 0;
			// Older messages stay if the page overlaps them; otherwise its cursor leads to them.
			if (start < 1) olderCursor = page.nextCursor;
			all = [...all.slice(0, Math.max(start, 0)), ...newest];
			return true;
		},
		takeOlder(page, cursor) {
			if (cursor !== olderCursor) return;
			olderCursor = page.nextCursor;
			all = [...page.items.toReversed().filter(({ id }) => !find(id)), ...all];
		},
		newest: () => all.at(-1)?.id ?? null,
		isAsked(content, after) {
			const start = all.findIndex(({ id }) => id === after) + 1;
			if (after && !start) return false;
			return all.slice(start).some((message) => message.role === "user" && message.content === content);
		},
		add(message) {
			if (!find(message.id)) change([...all, message]);
		},
		rewindTo(message) {
			const ordered = inReadingOrder();
			const kept = new Set(ordered.slice(0, ordered.findIndex(({ id }) => id === message.id) + 1));
			change(all.filter((other) => kept.has(other)).map((other) => (other.id === message.id ? message : other)));
		},
	};
};
