/** How the page says what happened: errors, a way back, the state of the connection, and words for listeners. */

import { ApiError, isAbort } from "../server/api.js";
import { button, element } from "./dom.js";
import { iconButton } from "./icons.js";

/** More than this is better read in the page itself, where one can go back. */
const MOST_SPOKEN_CHARACTERS = 3000;

/** What no API and no network did is a fault of the page itself, to be found in its console. @param {unknown} error */
export function report(error) {
	if (!(error instanceof ApiError || isAbort(error))) reportError(error);
}

/** What a person may read of it. @param {unknown} error */
export function describe(error) {
	report(error);
	return error instanceof ApiError ? error.message : "Something on this page went wrong";
}

/** An error, to be read, heard and tried again. @param {string} text @param {() => void} [retry] */
export function problem(text, retry) {
	const alert = element("div", { role: "alert", class: "box alert" }, element("p", { dir: "auto" }, text));
	if (retry) alert.append(button("Retry", retry));
	return alert;
}

/** @type {CreateNotices} */
export const createNotices = (place, announce, { uncover, refocus }) => {
	const clear = () => {
		const had = place.contains(document.activeElement);
		place.replaceChildren();
		if (had) refocus();
	};
	const dismiss = () => iconButton("Dismiss", "close", clear);
	return {
		clear,
		warn(text) {
			uncover();
			const box = problem(text);
			box.append(dismiss());
			place.replaceChildren(box);
		},
		offerUndo(text, undo) {
			uncover();
			const act = button("Undo", () => {
				clear();
				undo();
			});
			place.replaceChildren(element("div", { class: "box notice" }, element("p", { dir: "auto" }, text), act, dismiss()));
			announce(text);
			// Where what was done took the focus away; nobody's typing is to press it.
			const focused = document.activeElement;
			if (focused === document.body || !focused?.checkVisibility()) act.focus({ preventScroll: true });
		},
	};
};

/** Most cuts heal before anybody has to hear of them. */
const UNSAID_MILLISECONDS = 1000;

/** @type {(line: HTMLElement) => ConnectionStatus} */
export const createConnectionStatus = (line) => {
	const lost = new Set();
	let timer = 0;
	return (what, connected) => {
		if (connected) lost.delete(what);
		else lost.add(what);
		if (lost.size) timer ||= setTimeout(() => (line.textContent = "Reconnecting …"), UNSAID_MILLISECONDS);
		else {
			clearTimeout(timer);
			timer = 0;
			line.textContent = "";
		}
	};
};

/** @type {(region: HTMLElement) => Announce} */
export const createAnnouncer = (region) => (text) => {
	region.textContent = text.length > MOST_SPOKEN_CHARACTERS ? `${text.slice(0, MOST_SPOKEN_CHARACTERS)} …` : text;
};
