/** Values kept in the browser's storage. If that is turned off or full, nothing is kept after the page is left. */

/** Shared by all tabs, and kept after they are closed. */
const forAll = () => localStorage;
/** For this tab alone, until it is closed. */
export const forThisTab = () => sessionStorage;

/** Unsent text by conversation id. Null stands for a new conversation, whose draft is the tab's own. */
export const drafts = {
	/** @param {string | null} conversationId */
	get: (conversationId) => (conversationId ? recall(`draft ${conversationId}`) : recall("draft", forThisTab)),
	/** @param {string | null} conversationId @param {string} text */
	set(conversationId, text) {
		if (conversationId) remember(`draft ${conversationId}`, text);
		else remember("draft", text, forThisTab);
	},
};

/** Returns "" for a key that is not stored. @param {string} key @param {() => Storage} [where] */
export function recall(key, where = forAll) {
	try {
		return where().getItem(`chatserver ${key}`) ?? "";
	} catch {
		return "";
	}
}

/** @param {string} key @param {string} value "" removes the key @param {() => Storage} [where] */
export function remember(key, value, where = forAll) {
	try {
		if (value) where().setItem(`chatserver ${key}`, value);
		else where().removeItem(`chatserver ${key}`);
	} catch {
		// Storage is turned off or full.
	}
}

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

/** Removes everything that this page stored, except what other tabs store for themselves. */
export function forgetAll() {
	for (const where of [forAll, forThisTab]) {
		try {
			for (const key of Object.keys(where())) if (key.startsWith("chatserver ")) where().removeItem(key);
		} catch {
			// Storage is turned off or full.
		}
	}
}
