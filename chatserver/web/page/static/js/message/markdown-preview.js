/**
 * The light preview of the end of an answer, as elements. What is the same as before stays the same element, and a text
 * that grows is added to: so a selection stays, and the browser lays out only what is new.
 *
 * @import { Block, Box, Part } from "./markdown-outline.js"
 * @import { Decorate } from "./rendered-html.js"
 *
 * @typedef {{ start: number, source: string, element: Element }} Shown
 */

import { element } from "../ui/dom.js";

/** Shows a text in a text node. @param {Text} node @param {string} text */
function setText(node, text) {
	const { data } = node;
	if (text === data) return;
	if (text.startsWith(data)) node.appendData(text.slice(data.length));
	else node.data = text;
}

/**
 * The preview at the end of `content`.
 *
 * @param {Element} content
 * @param {Decorate} decorate
 */
export const createPreview = (content, decorate) => {
	/** Code and tables, by what decorates them. @type {WeakMap<Node, Element>} */
	const undecorated = new WeakMap();
	/** @type {Shown[]} */
	let all = [];

	/** @param {Box} box */
	const build = ({ tag, attributes, children }) => {
		const node = element(/** @type {"p"} */ (tag), attributes);
		fill(node, children);
		if (tag !== "pre" && tag !== "table") return node;
		const shown = decorate(node);
		undecorated.set(shown, node);
		return shown;
	};

	/**
	 * The element to fill if it is of the same kind as before, else null.
	 *
	 * @param {Node | null} shown
	 * @param {Box} box
	 */
	const sameKind = (shown, { tag, attributes = {}, children }) => {
		const node = shown && (undecorated.get(shown) ?? shown);
		if (!(node instanceof Element) || node.localName !== tag) return null;
		if (Object.entries(attributes).some(([name, value]) => node.getAttribute(name) !== value)) return null;
		// The language of code is shown beside it.
		const [code] = children;
		const language = tag === "pre" && typeof code === "object" ? (code.attributes?.class ?? "") : null;
		return language === null || node.firstElementChild?.className === language ? node : null;
	};

	/** Makes these the children of an element. @param {Element} parent @param {readonly Part[]} parts */
	const fill = (parent, parts) => {
		let node = parent.firstChild;
		for (const part of parts) {
			const next = node?.nextSibling ?? null;
			const same = typeof part === "string" ? null : sameKind(node, part);
			if (typeof part === "string") {
				if (node instanceof Text) setText(node, part);
				else if (node) node.replaceWith(part);
				else parent.append(part);
			} else if (same) fill(same, part.children);
			else if (node) node.replaceWith(build(part));
			else parent.append(build(part));
			node = next;
		}
		while (node) {
			const next = node.nextSibling;
			node.remove();
			node = next;
		}
	};

	return {
		/** Where the preview begins. */
		first: () => all[0]?.element ?? null,
		/**
		 * Shows these blocks, and removes all others.
		 *
		 * @param {readonly Block[]} blocks
		 * @param {number} offset is added to the place of each
		 */
		show(blocks, offset) {
			const before = new Map(all.map((each) => [each.start, each]));
			all = blocks.map(({ start, part }) => {
				const source = JSON.stringify(part);
				const old = before.get(offset + start);
				const same = old && sameKind(old.element, part);
				if (!same) return { start: offset + start, source, element: build(part) };
				before.delete(old.start);
				if (old.source !== source) fill(same, part.children);
				return { ...old, source };
			});
			for (const { element } of before.values()) element.remove();
			for (const { element } of all) if (element.parentNode !== content) content.append(element);
		},
		clear() {
			for (const { element } of all) element.remove();
			all = [];
		},
	};
};
