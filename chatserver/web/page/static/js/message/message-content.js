/** The words of one message: text while it grows, and the server's HTML once it is finished. */

import { copyButton } from "../ui/clipboard.js";
import { element } from "../ui/dom.js";

/** Text that mostly grows at its end: what stands there already is left alone, with its selection. */
export const growingText = (/** @type {HTMLElement} */ place) => {
	let shown = "";
	return (/** @type {string} */ text) => {
		if (text === shown) return;
		if (text.startsWith(shown)) place.append(text.slice(shown.length));
		else place.replaceChildren(text);
		shown = text;
	};
};

/**
 * What may be wider than a phone scrolls by itself, by keyboard too.
 *
 * @param {HTMLElement} box
 * @param {HTMLElement} wide
 */
function wrap(box, wide) {
	wide.replaceWith(box);
	box.append(wide);
}

/** @type {CreateMessageContent} */
export const createMessageContent = (announce) => {
	const place = element("div", { class: "content", dir: "auto" });
	const setText = growingText(place);
	let shownHtml = "";

	/** @param {HTMLElement} pre */
	const frame = (pre) => {
		const language = pre.firstElementChild?.className.replace("language-", "") ?? "";
		const copy = copyButton("Copy code", () => pre.textContent ?? "", announce);
		wrap(element("div", { class: "code" }, element("div", { class: "code-head" }, language, copy)), pre);
		pre.tabIndex = 0; // so that keys scroll it
	};

	return {
		element: place,
		showText(text) {
			if (shownHtml) place.replaceChildren();
			shownHtml = "";
			place.classList.remove("rendered");
			setText(text);
		},
		showHtml(html) {
			if (html === shownHtml) return;
			shownHtml = html;
			setText("");
			place.classList.add("rendered");
			// All the markup that this page ever takes over; the server has cleaned it.
			place.innerHTML = html;
			for (const pre of place.querySelectorAll("pre")) frame(pre);
			for (const table of place.querySelectorAll("table")) wrap(element("div", { class: "wide", tabindex: 0 }), table);
		},
	};
};
