/** Text that grows at its end, without Markdown. */

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
