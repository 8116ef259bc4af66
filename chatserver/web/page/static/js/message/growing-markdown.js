/**
 * Markdown that is rendered while it grows. The server renders it, block by block; what it has not rendered yet is
 * shown as a light preview. Blocks are final once another one follows them: they are not touched again until the whole
 * answer is there as HTML, and then only if they differ from it.
 *
 * @import { RenderBlocks } from "./message-content.js"
 * @import { Decorate } from "./rendered-html.js"
 */

import { keepPlaces, keepSelection } from "./kept-place.js";
import { outline } from "./markdown-outline.js";
import { createPreview } from "./markdown-preview.js";
import { elementsOf, MOST_CHARACTERS } from "./rendered-html.js";

/** The time between two requests. */
const INTERVAL_MILLISECONDS = 250;
const LONGEST_WAIT_MILLISECONDS = 30_000;
/** As much is rendered at once; more if a block is longer. */
const REQUEST_CHARACTERS = 16_000;
/** Drawing a very long preview takes at most this share of the time. */
const DRAWING_SHARE = 0.2;
/** How far apart the same block may be in the final HTML: what links and footnotes came to in between. */
const REACH = 8;
/** A last line that begins in this way begins a block of its own, or goes on with the last one. */
const DECIDED = /^(?:\*\*)?["'(“‘«„¿¡]?\p{L}/u;

/**
 * @param {HTMLElement} content
 * @param {RenderBlocks} render
 * @param {Decorate} decorate
 */
export const createGrowingMarkdown = (content, render, decorate) => {
	const abort = new AbortController();
	const preview = createPreview(content, decorate);
	/** The final blocks, in order, and each as the server's HTML has it. @type {{ element: Element, html: string }[]} */
	const finals = [];
	let text = "";
	/** How much of the text the final blocks cover. */
	let covered = 0;
	/** The levels of the headings above the preview. @type {number[]} */
	let headings = [];
	let limit = REQUEST_CHARACTERS;
	/** Of the last request that brought nothing final: how long its text was, and of how many blocks it seemed to be. */
	let vain = { characters: 0, blocks: 1 };
	let failures = 0;
	let isAsking = false;
	let askAt = 0;
	let drawAt = 0;
	let timer = 0;
	let drawTimer = 0;
	/** Where the blocks of the preview begin in what is not covered. @type {number[]} */
	let starts = [];

	/** @param {() => void} change */
	const exchange = (change) => keepSelection(content, () => keepPlaces(content, change));

	const show = () => {
		const blocks = outline(text.slice(covered), headings);
		starts = blocks.map(({ start }) => start);
		preview.show(blocks, covered);
	};

	/** What can be rendered: of the last line only as much as cannot become something else. */
	const ripe = () => {
		const rest = text.slice(covered, covered + limit);
		const end = rest.lastIndexOf("\n") + 1;
		const isCut = text.length > covered + limit;
		return isCut || !DECIDED.test(rest.slice(end)) ? rest.slice(0, end) : rest;
	};

	/** @param {Api.RenderedBlock[]} blocks */
	const settle = (blocks) =>
		exchange(() => {
			const before = preview.first();
			for (const { html } of blocks) {
				for (const one of elementsOf(html)) {
					const block = { html: one.outerHTML, element: decorate(one) };
					finals.push(block);
					content.insertBefore(block.element, before);
					content.insertBefore(document.createTextNode("\n"), before);
				}
			}
			covered += blocks.reduce((sum, { chars }) => sum + chars, 0);
			headings = blocks.at(-1)?.headings ?? headings;
			show();
		});

	/** Asks the server if a block seems to be complete. */
	const ask = () => {
		if (isAsking || abort.signal.aborted) return;
		const part = ripe();
		const blocks = starts.filter((start) => start < part.length).length;
		const isDue = blocks > vain.blocks || part.length > 2 * vain.characters + REQUEST_CHARACTERS / 4;
		if (!part || !isDue) return;
		clearTimeout(timer);
		const wait = askAt - performance.now();
		if (wait > 0) timer = setTimeout(ask, wait);
		else void request(part, blocks);
	};

	/** @param {string} part @param {number} blocks how many it seems to have */
	const request = async (part, blocks) => {
		isAsking = true;
		askAt = performance.now() + INTERVAL_MILLISECONDS;
		/** @type {Api.RenderedBlock[] | null} */
		let rendered = null;
		let patience = 0;
		try {
			rendered = await render(part, headings, abort.signal);
		} catch (error) {
			patience = 1000 * (/** @type {{ retryAfterSeconds?: number }} */ (error).retryAfterSeconds ?? 0);
		}
		isAsking = false;
		if (abort.signal.aborted) return;
		failures = rendered ? 0 : failures + 1;
		if (!rendered) {
			// The answer goes on as a preview, and the server is left alone for a while.
			const wait = Math.max(patience, 1000 * 2 ** failures);
			askAt = performance.now() + Math.min(wait, LONGEST_WAIT_MILLISECONDS);
		} else if (rendered.length > 1) {
			settle(rendered.slice(0, -1));
			limit = REQUEST_CHARACTERS;
			vain = { characters: 0, blocks: 1 };
			if (text.length - covered > limit) askAt = 0;
		} else {
			vain = { characters: part.length, blocks };
			limit = Math.min(Math.max(limit, 2 * part.length), MOST_CHARACTERS);
		}
		ask();
	};

	const draw = () => {
		clearTimeout(drawTimer);
		drawTimer = 0;
		const begin = performance.now();
		keepSelection(content, show);
		const end = performance.now();
		drawAt = end + (end - begin) / DRAWING_SHARE;
		ask();
	};

	const stop = () => {
		abort.abort();
		clearTimeout(timer);
		clearTimeout(drawTimer);
	};

	return {
		/** What is shown. */
		text: () => text,
		/** @param {string} longer begins with the text that is shown */
		grow(longer) {
			if (longer === text) return;
			text = longer;
			const wait = drawAt - performance.now();
			if (wait < 0) draw();
			else if (!drawTimer && wait > 20) drawTimer = setTimeout(draw, wait);
			else if (!drawTimer) draw();
		},
		stop,
		/**
		 * Shows the HTML of the whole answer: only what differs from it is replaced.
		 *
		 * @param {readonly Element[]} whole
		 */
		finish(whole) {
			stop();
			let from = 0;
			const elements = whole.map((element) => {
				const html = element.outerHTML;
				const found = finals.slice(from, from + REACH).findIndex((block) => block.html === html);
				if (found < 0) return decorate(element);
				from += found + 1;
				return finals[from - 1].element;
			});
			exchange(() => {
				preview.clear();
				const wanted = new Set(elements);
				for (const node of [...content.childNodes]) if (!(node instanceof Element) || !wanted.has(node)) node.remove();
				let next = content.firstElementChild;
				for (const element of elements) {
					if (element === next) next = next.nextElementSibling;
					else content.insertBefore(element, next);
				}
				for (const element of elements.slice(0, -1)) element.after("\n");
			});
		},
	};
};
