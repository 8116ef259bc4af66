/** What is kept in this browser. Where that is turned off or full, things live as long as the page. */

/** For all tabs; others are for this one alone, and last as long as it does. */
const forAll = () => localStorage;
export const forThisTab = () => sessionStorage;

/**
 * What was written and not sent yet, per conversation (null: a new one, of which every tab has its own).
 *
 * @type {Drafts}
 */
export const drafts = {
	get: (conversationId) => (conversationId ? recall(`draft ${conversationId}`) : recall("draft", forThisTab)),
	set(conversationId, text) {
		if (conversationId) remember(`draft ${conversationId}`, text);
		else remember("draft", text, forThisTab);
	},
};

/** @param {string} key @param {() => Storage} [where] */
export function recall(key, where = forAll) {
	try {
		return where().getItem(`chatserver ${key}`) ?? "";
	} catch {
		return "";
	}
}

/** @param {string} key @param {string} value empty to forget @param {() => Storage} [where] */
export function remember(key, value, where = forAll) {
	try {
		if (value) where().setItem(`chatserver ${key}`, value);
		else where().removeItem(`chatserver ${key}`);
	} catch {
		// See above.
	}
}

/** All that this page keeps here, but for what other tabs keep for themselves. */
export function forgetAll() {
	for (const where of [forAll, forThisTab]) {
		try {
			for (const key of Object.keys(where())) if (key.startsWith("chatserver ")) where().removeItem(key);
		} catch {
			// See above.
		}
	}
}
