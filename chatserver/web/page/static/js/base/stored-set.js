/**
 * A set of words in the browser's storage, which all tabs share.
 *
 * @typedef {ReturnType<typeof createStoredSet>} StoredSet
 */

import { onStored, recall, remember } from "./storage.js";

/** @param {string} key @param {number} most only so many are kept, the newest */
export const createStoredSet = (key, most) => {
	/** @type {(() => void)[]} */
	const listeners = [];
	const tell = () => listeners.forEach((listener) => listener());

	/** Read anew each time: other tabs change it, too. */
	const all = () => new Set(recall(key).split(" ").filter(Boolean));

	/** @param {Set<string>} words */
	const keep = (words) => {
		remember(key, [...words].slice(-most).join(" "));
		tell();
	};

	onStored(key, tell);

	return {
		all,
		/** @param {string} word */
		has: (word) => all().has(word),
		/** @param {string} word */
		add(word) {
			const words = all();
			if (!words.has(word)) keep(words.add(word));
		},
		/** @param {string} word */
		remove(word) {
			const words = all();
			if (words.delete(word)) keep(words);
		},
		/** @param {() => void} listener is called after each change, in whichever tab it was made */
		listen: (listener) => void listeners.push(listener),
	};
};
