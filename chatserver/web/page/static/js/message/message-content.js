/**
 * The content of one message: text while it grows, and the server's HTML once it is finished.
 *
 * @import { Announce } from "../ui/feedback.js"
 */

import { copyButton } from "../ui/clipboard.js";
import { element } from "../ui/dom.js";

/** For text that mostly grows at its end: text that is shown already stays as it is, with its selection. */
export const growingText = (/** @type {HTMLElement} */ container) => {
	let shown = "";
	return (/** @type {string} */ text) => {
		if (text === shown) return;
		if (text.startsWith(shown)) container.append(text.slice(shown.length));
		else container.replaceChildren(text);
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
		/** @param {string} text */
		showText(text) {
			if (shownHtml) content.replaceChildren();
			shownHtml = "";
			content.classList.remove("rendered");
			setText(text);
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
