/**
 * The content of one message: text as it was written, Markdown that grows, or the server's HTML.
 *
 * @import { Announce } from "../ui/feedback.js"
 *
 * @typedef {(text: string, headings: number[], signal: AbortSignal) => Promise<Rendered>} RenderBlocks renders
 *   the continuation of a text, below headings of these levels; null: the server has no time for it
 *
 * @typedef {Api.RenderedBlock[] | null} Rendered
 *
 * @typedef {object} GrowingMarkdown
 * @property {() => string} text what is shown
 * @property {(longer: string) => void} grow shows a text that begins with what is shown
 * @property {() => void} stop
 * @property {(whole: readonly Element[]) => void} [finish] shows the HTML of the whole text
 */

import { t } from "../base/language.js";
import { element } from "../ui/dom.js";
import { onDemand } from "../ui/on-demand.js";
import { growingText } from "./growing-text.js";
import { createDecorate, elementsOf, MOST_CHARACTERS } from "./rendered-html.js";

const loadGrowing = onDemand(() => import("./growing-markdown.js"));

/**
 * Shows Markdown as text, if what renders it could not be loaded.
 *
 * @param {HTMLElement} content
 * @returns {GrowingMarkdown}
 */
const plainly = (content) => {
	const setText = growingText(content);
	let shown = "";
	return { text: () => shown, grow: (text) => setText((shown = text), true), stop() {} };
};

/** @param {{ announce: Announce, render: RenderBlocks }} context */
export const createMessageContent = ({ announce, render }) => {
	const content = element("div", { class: "content", dir: "auto" });
	const decorate = createDecorate(announce);
	/** What is shown: a text, the server's HTML, or neither while an answer grows. */
	let shown = { text: "", html: "" };
	/** @type {GrowingMarkdown | null} */
	let growing = null;
	/** Shown once what it takes is loaded. @type {string | null} */
	let waiting = null;

	const stop = () => {
		growing?.stop();
		growing = null;
		waiting = null;
	};

	/** @param {boolean} isRendered @param {typeof shown} now */
	const become = (isRendered, now = { text: "", html: "" }) => {
		stop();
		shown = now;
		content.classList.toggle("rendered", isRendered);
		content.removeAttribute("data-note");
	};

	const begin = async () => {
		const loaded = await loadGrowing().catch(() => null);
		if (waiting === null) return; // Something else is shown by now.
		const text = waiting;
		become(Boolean(loaded));
		content.replaceChildren();
		if (loaded) growing = loaded.createGrowingMarkdown(content, render, decorate);
		else growing = plainly(content);
		growing.grow(text);
	};

	return {
		element: content,
		/** Nothing more of a text that grows is rendered. */
		stop,
		/** Shows a text as it was written. An answer that has grown stays as it is. @param {string} text */
		showText(text) {
			const isLong = text.length > MOST_CHARACTERS;
			if (shown.text === text || (growing?.text() === text && !isLong)) return;
			become(false, { text, html: "" });
			content.replaceChildren(text);
			// Not in the content: it would be copied with it.
			if (isLong) content.dataset.note = t("Shown as plain text, because it is so long.");
		},
		/** Shows Markdown; more of it may come. @param {string} text */
		showProgress(text) {
			if (growing && text.startsWith(growing.text())) return growing.grow(text);
			const isLoading = waiting !== null;
			waiting = text;
			if (!isLoading) void begin();
		},
		/** @param {string} html as the server rendered it */
		showHtml(html) {
			if (html === shown.html) return;
			const elements = elementsOf(html);
			if (growing?.finish) growing.finish(elements);
			else {
				const parts = elements.flatMap((each) => ["\n", decorate(each)]).slice(1);
				content.replaceChildren(...parts);
			}
			become(true, { text: "", html });
		},
	};
};
