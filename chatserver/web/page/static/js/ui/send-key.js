import { sendsOnEnter } from "../base/preferences.js";
import { isComposing } from "./dom.js";

/**
 * Whether what was typed is to be sent: by Ctrl+Enter, and by Enter if the settings say so.
 *
 * @param {KeyboardEvent} event
 */
export function isSendKey(event) {
	if (event.key !== "Enter" || isComposing(event)) return false;
	return event.ctrlKey || event.metaKey || (sendsOnEnter() && !event.shiftKey);
}
