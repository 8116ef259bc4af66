/**
 * Keys as they are written in the table of commands: "Mod+Shift+O" or "?". Mod is Ctrl, or ⌘ on Apple's machines.
 */

import { t } from "../base/language.js";
import { isComposing } from "../ui/dom.js";

const isApple = /mac|iphone|ipad/i.test(navigator.platform);

/** The name of the key Mod at this machine. */
export const modName = () => (isApple ? "⌘" : t("Ctrl"));

/** The names of the keys, as they are on the keyboard. @param {string} keys @returns {string[]} */
export function keyNames(keys) {
	/** @type {Record<string, string>} */
	const names = { Mod: modName(), Shift: t("Shift"), Escape: t("Esc"), Enter: t("Enter"), Home: t("Home") };
	return keys.split("+").map((key) => names[key] ?? key);
}

/** Whether text can be typed at the element. @param {EventTarget | null} target */
const isTextField = (target) =>
	target instanceof HTMLElement && (target.matches("input, textarea, select") || target.isContentEditable);

/**
 * What was pressed, as the table writes it; null: it belongs to a text, or to an input method.
 *
 * @param {KeyboardEvent} event
 */
export function keysOf(event) {
	const { key, code, ctrlKey, metaKey, shiftKey, altKey, target } = event;
	if (isComposing(event) || event.repeat || altKey) return null;
	const isMod = isApple ? metaKey && !ctrlKey : ctrlKey && !metaKey;
	if (isMod) {
		// In Arabic and other scripts the key has a letter of that script: then its place counts.
		const letter = /^[a-z]$/i.test(key) ? key : /^Key([A-Z])$/.exec(code)?.[1];
		return letter ? `Mod+${shiftKey ? "Shift+" : ""}${letter.toUpperCase()}` : null;
	}
	if (ctrlKey || metaKey || isTextField(target)) return null;
	return key === "؟" ? "?" : key;
}
