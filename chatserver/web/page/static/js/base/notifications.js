/**
 * Notifications of the operating system. Browsers offer them over HTTPS and on loopback only, and let a page ask for
 * the permission only when somebody has clicked.
 */

import { wantsNotifications } from "./preferences.js";

export const isSupported = () => "Notification" in globalThis && isSecureContext;

/** Whether the browser shows this page's notifications. */
export const isAllowed = () => isSupported() && Notification.permission === "granted";

/** Asks for the permission; to be called for a click. Returns whether it is there. */
export async function ask() {
	if (!isSupported()) return false;
	return (await Notification.requestPermission()) === "granted";
}

/**
 * Shows a notification if it is allowed and wanted. A newer one about the same thing takes its place.
 *
 * @param {string} title
 * @param {{ body: string, about: string, icon: string, onClick: () => void }} content `about` names the thing
 */
export function notify(title, { body, about, icon, onClick }) {
	if (!isAllowed() || !wantsNotifications()) return;
	try {
		const shown = new Notification(title, { body, icon, tag: `chatserver ${about}` });
		shown.addEventListener("click", () => {
			shown.close();
			focus();
			onClick();
		});
	} catch {
		// Browsers of phones let only service workers show notifications.
	}
}
