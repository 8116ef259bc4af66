/** What a person has chosen for this page in this browser. */

import { recall, remember } from "./storage.js";

const SEND_KEY = "send key";
const WITH_CONTROL = "control+enter";
const NOTIFICATIONS = "notifications";

/** Whether Enter sends a message. Otherwise it starts a new line, and Ctrl+Enter or ⌘+Enter sends. */
export function sendsOnEnter() {
	return recall(SEND_KEY) !== WITH_CONTROL;
}

/** @param {boolean} isEnter */
export function setSendsOnEnter(isEnter) {
	remember(SEND_KEY, isEnter ? "" : WITH_CONTROL);
}

/** Whether the system shows a notification of an answer that is finished while the page is not seen. */
export function wantsNotifications() {
	return recall(NOTIFICATIONS) !== "";
}

/** @param {boolean} isWanted */
export function setWantsNotifications(isWanted) {
	remember(NOTIFICATIONS, isWanted ? "yes" : "");
}
