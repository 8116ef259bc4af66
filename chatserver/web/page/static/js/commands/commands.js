/**
 * What can be done by the palette and by shortcuts: one table, which also binds the keys and is listed for people.
 *
 * @typedef {object} Command
 * @property {string} name
 * @property {string} [keys] see keys.js
 * @property {() => void} run
 */

import { keysOf } from "./keys.js";

/**
 * Runs commands by their keys, unless a dialog is open or the key belongs to what somebody types.
 *
 * @param {() => Command[]} commands those that are possible now
 */
export function bindKeys(commands) {
	addEventListener("keydown", (event) => {
		const keys = keysOf(event);
		if (keys === null || event.defaultPrevented || document.querySelector("dialog[open]")) return;
		const command = commands().find((one) => one.keys === keys);
		if (!command) return;
		event.preventDefault();
		command.run();
	});
}
