/**
 * How the page tells people what happened: errors, undo, the state of the connection, announcements.
 *
 * @typedef {ReturnType<typeof createNotices>} Notices
 * @typedef {ReturnType<typeof createConnectionStatus>} ConnectionStatus
 * @typedef {ReturnType<typeof createAnnouncer>} Announce
 */

import { t } from "../base/language.js";
import { ApiError, isAbort } from "../server/api.js";
import { button, element } from "./dom.js";
import { iconButton } from "./icons.js";

/** Longer texts are better read in the page itself, where a screen reader can go back. */
const MOST_SPOKEN_CHARACTERS = 3000;

/**
 * Writes to the console what neither the API nor the network caused: it is a fault of the page.
 *
 * @param {unknown} error
 */
export function report(error) {
	if (!(error instanceof ApiError || isAbort(error))) reportError(error);
}

/** Returns the text of an error for people. @param {unknown} error */
export function describe(error) {
	report(error);
	if (error instanceof ApiError) return error.message;
	// A module does not find what it imports: the server has been renewed since the page was loaded.
	if (error instanceof SyntaxError) return t("This page does not fit the server any more. Reload it");
	return t("Something on this page went wrong");
}

/** Ends a sentence with a full stop: the server's have none. @param {string} text */
export const sentence = (text) => (/[\p{L}\p{N}\p{Pe}\p{Pf}"]$/u.test(text) ? `${text}.` : text);

/**
 * An error message that screen readers announce, with a Retry button if `retry` is given.
 *
 * @param {string} text
 * @param {() => void} [retry]
 */
export function problem(text, retry) {
	const alert = element("div", { role: "alert", class: "box alert" }, element("p", { dir: "auto" }, sentence(text)));
	if (retry) alert.append(button(t("Retry"), retry));
	return alert;
}

/** An offer to undo goes away by itself after so long, and starts anew after somebody was at it. */
const UNDO_SECONDS = 10;

/**
 * Shows one notice at a time about what was just done. Errors stay until they are closed.
 *
 * @param {HTMLElement} container
 * @param {Announce} announce
 * @param {object} handlers
 * @param {() => void} handlers.uncover makes the container visible
 * @param {() => void} handlers.refocus the element that had the focus is gone
 */
export const createNotices = (container, announce, { uncover, refocus }) => {
	let timer = 0;
	let isOffer = false;

	/** @param {...Node} nodes */
	const put = (...nodes) => {
		clearTimeout(timer);
		isOffer = false;
		container.replaceChildren(...nodes);
	};
	const clear = () => {
		const hadFocus = container.contains(document.activeElement);
		put();
		if (hadFocus) refocus();
	};
	const leave = () => isOffer && clear();
	const leaveLater = () => {
		clearTimeout(timer);
		// The focus that was put here after a click does not tell that somebody wants to read on.
		const isUsed = container.matches(":hover") || container.querySelector(":focus-visible");
		if (isOffer && !isUsed) timer = setTimeout(leave, UNDO_SECONDS * 1000);
	};
	const dismiss = () => iconButton(t("Dismiss"), "close", clear);
	for (const event of ["pointerenter", "pointerleave", "focusin", "focusout"]) {
		// After the event, when it is known where the pointer and the focus are.
		container.addEventListener(event, () => queueMicrotask(leaveLater));
	}

	return {
		clear,
		/** Somebody goes on to something else: an offer to undo is over, an error is not. */
		leave,
		/** @param {string} text */
		warn(text) {
			uncover();
			const box = problem(text);
			box.append(dismiss());
			put(box);
		},
		/** @param {string} text what was done @param {() => void} undo */
		offerUndo(text, undo) {
			uncover();
			const undoButton = button(t("Undo"), () => {
				clear();
				undo();
			});
			const line = element("p", { dir: "auto" }, text);
			put(element("div", { class: "box notice" }, line, undoButton, dismiss()));
			isOffer = true;
			announce(text);
			// Only if the focus was lost by what was done: somebody who types must not press the button by accident.
			const focused = document.activeElement;
			if (focused === document.body || !focused?.checkVisibility()) undoButton.focus({ preventScroll: true });
			leaveLater();
		},
	};
};

/** Most lost connections are back before anybody has to know. */
const SILENT_MILLISECONDS = 1000;

/** Tells that the server is away once any of the page's connections was lost for a second. @param {HTMLElement} line */
export const createConnectionStatus = (line) => {
	const lost = new Set();
	let timer = 0;
	/** @param {string} what names the connection @param {boolean} connected */
	return (what, connected) => {
		if (connected) lost.delete(what);
		else lost.add(what);
		if (lost.size) timer ||= setTimeout(() => (line.textContent = t("Reconnecting …")), SILENT_MILLISECONDS);
		else {
			clearTimeout(timer);
			timer = 0;
			line.textContent = "";
		}
	};
};

/**
 * Returns a function by which screen readers announce a text. Give it whole texts: a live region is not for pieces.
 *
 * @param {HTMLElement} region
 */
export const createAnnouncer = (region) => (/** @type {string} */ text) => {
	region.textContent = text.length > MOST_SPOKEN_CHARACTERS ? `${text.slice(0, MOST_SPOKEN_CHARACTERS)} …` : text;
};
