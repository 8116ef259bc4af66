/**
 * The content of one message: text while it grows, and the server's HTML once it is finished.
 *
 * @import { Announce } from "../ui/feedback.js"
 */

import { copyButton } from "../ui/clipboard.js";
import { element } from "../ui/dom.js";

/** A part of a growing text ends at the first line break after so many characters. */
const PART_CHARACTERS = 500;

/**
 * Returns a function that shows a text. While the text grows at its end, what is shown already stays as it is, with its
 * selection.
 *
 * The parts of a growing text are boxes of their own, so a browser lays out the last part again at each word, and not
 * the whole text. The boxes are inline: blocks would be copied with an empty line after each.
 *
 * @param {HTMLElement} container
 */
export const growingText = (container) => {
	let shown = "";
	/** The part that grows. @type {HTMLElement | null} */
	let part = null;
	return (/** @type {string} */ text, grows = false) => {
		if (text === shown) return;
		if (!grows || !shown || !text.startsWith(shown)) {
			shown = grows ? "" : text;
			container.replaceChildren(shown);
			part = null;
		}
		for (const line of text.slice(shown.length).match(/[^\n]*\n|[^\n]+/g) ?? []) {
			part ??= container.appendChild(element("span", { class: "part" }));
			part.append(line);
			if (line.endsWith("\n") && part.textContent.length >= PART_CHARACTERS) part = null;
		}
		shown = text;
	};
};

/**
 * Puts a box around an element that may be wider than the screen, so that it scrolls by itself.
 *
 * @param {HTMLElement} box
 * @param {HTMLElement} wide
 */
function wrap(box, wide) {
	wide.replaceWith(box);
	box.append(wide);
}

/** @param {Announce} announce */
export const createMessageContent = (announce) => {
	const content = element("div", { class: "content", dir: "auto" });
	const setText = growingText(content);
	let shownHtml = "";

	/** @param {HTMLElement} pre */
	const frame = (pre) => {
		const language = pre.firstElementChild?.className.replace("language-", "") ?? "";
		const copy = copyButton("Copy code", () => pre.textContent ?? "", announce);
		wrap(element("div", { class: "code" }, element("div", { class: "code-head" }, language, copy)), pre);
		pre.tabIndex = 0; // so that it can be scrolled by keyboard
	};

	return {
		element: content,
		/** @param {string} text @param {boolean} [grows] more of it will come */
		showText(text, grows) {
			shownHtml = "";
			content.classList.remove("rendered");
			setText(text, grows);
		},
		/** @param {string} html as the server rendered it */
		showHtml(html) {
			if (html === shownHtml) return;
			shownHtml = html;
			setText("");
			content.classList.add("rendered");
			// The only markup that this page inserts. The server has cleaned it.
			content.innerHTML = html;
			for (const pre of content.querySelectorAll("pre")) frame(pre);
			for (const table of content.querySelectorAll("table")) wrap(element("div", { class: "wide", tabindex: 0 }), table);
		},
	};
};
