/** Values kept in the browser's storage. If that is turned off or full, this tab keeps them until the page is left. */

/** Shared by all tabs, and kept after they are closed. */
export const forAll = () => localStorage;
/** For this tab alone, until it is closed. */
export const forThisTab = () => sessionStorage;

/** What could not be stored. @type {Map<() => Storage, Map<string, string>>} */
const unstored = new Map([forAll, forThisTab].map((where) => [where, new Map()]));

/** So many conversations have a value of one kind, so those of deleted conversations do not pile up. */
const MOST_CONVERSATIONS = 100;

/** Returns "" for a key that is not stored. @param {string} key @param {() => Storage} [where] */
export function recall(key, where = forAll) {
	const kept = unstored.get(where)?.get(key);
	if (kept !== undefined) return kept;
	try {
		return where().getItem(`chatserver ${key}`) ?? "";
	} catch {
		return "";
	}
}

/** @param {string} key @param {string} value "" removes the key @param {() => Storage} [where] */
export function remember(key, value, where = forAll) {
	unstored.get(where)?.delete(key);
	try {
		if (value) where().setItem(`chatserver ${key}`, value);
		else where().removeItem(`chatserver ${key}`);
	} catch {
		unstored.get(where)?.set(key, value);
	}
}

/**
 * Values by conversation id. If there are too many, those that were set longest ago are forgotten.
 *
 * @param {string} kind
 */
function byConversation(kind) {
	const index = `all ${kind}`;
	return {
		/** @param {string} id */
		get: (id) => recall(`${kind} ${id}`),
		/** @param {string} id @param {string} value "" removes it */
		set(id, value) {
			remember(`${kind} ${id}`, value);
			const before = recall(index);
			const ids = before.split(" ").filter((other) => other && other !== id);
			if (value) ids.push(id);
			for (const old of ids.slice(0, -MOST_CONVERSATIONS)) remember(`${kind} ${old}`, "");
			const now = ids.slice(-MOST_CONVERSATIONS).join(" ");
			if (now !== before) remember(index, now);
		},
	};
}

const draftsById = byConversation("draft");

/** Unsent text by conversation id. Null stands for a new conversation, whose draft is the tab's own. */
export const drafts = {
	/** @param {string | null} id */
	get: (id) => (id ? draftsById.get(id) : recall("draft", forThisTab)),
	/** @param {string | null} id @param {string} text */
	set: (id, text) => (id ? draftsById.set(id, text) : remember("draft", text, forThisTab)),
};

/** Ids of messages that wait for their answers, with spaces between them, by conversation id. */
export const waitingIds = byConversation("waiting");

/**
 * Calls `listener` after another tab has changed a value that all tabs share.
 *
 * @param {string} key
 * @param {() => void} listener
 */
export function onStored(key, listener) {
	addEventListener("storage", (event) => {
		if (event.key === null || event.key === `chatserver ${key}`) listener();
	});
}

/** Removes everything that this page stored there. @param {() => Storage} where */
export function forget(where) {
	unstored.get(where)?.clear();
	try {
		for (const key of Object.keys(where())) if (key.startsWith("chatserver ")) where().removeItem(key);
	} catch {
		// Storage is turned off or full.
	}
}
