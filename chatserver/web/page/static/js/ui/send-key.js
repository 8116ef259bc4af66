import { sendsOnEnter } from "../base/preferences.js";
import { isComposing } from "./dom.js";

/** Whether what was typed is to be sent: by Enter, if that is the choice, or by Ctrl+Enter. @param {KeyboardEvent} event */
export function isSendKey(event) {
	if (event.key !== "Enter" || isComposing(event)) return false;
	return event.ctrlKey || event.metaKey || (sendsOnEnter() && !event.shiftKey);
}
