/** Keeps what a reader has selected, scrolled and focused while elements are exchanged for others of the same text. */

/** What can be scrolled or have the focus. */
const PLACES = "pre, .wide, button, a";

/** @param {Element} root */
const textsOf = (root) => document.createTreeWalker(root, NodeFilter.SHOW_TEXT);

/** How many visible characters there are in a text up to an offset. @param {string} text @param {number} [end] */
const count = (text, end) => text.slice(0, end).replace(/\s+/g, "").length;

/**
 * How many characters other than spaces come before a place in the text.
 *
 * @param {Element} root
 * @param {Node} node
 * @param {number} offset
 */
function charactersBefore(root, node, offset) {
	const range = document.createRange();
	range.setStart(root, 0);
	range.setEnd(node, offset);
	return count(range.toString());
}

/** The place behind so many characters. @param {Element} root @param {number} characters @param {boolean} isEnd */
function placeBehind(root, characters, isEnd) {
	const texts = textsOf(root);
	/** @type {[Node, number]} */
	let last = [root, root.childNodes.length];
	for (let node = texts.nextNode(); node; node = texts.nextNode()) {
		const text = node.nodeValue ?? "";
		const visible = count(text);
		if (visible && (isEnd ? characters <= visible : characters < visible)) {
			let offset = 0;
			for (let left = characters; left > 0 || (!isEnd && /\s/.test(text[offset])); offset += 1) {
				if (!/\s/.test(text[offset])) left -= 1;
			}
			return /** @type {[Node, number]} */ ([node, offset]);
		}
		characters -= visible;
		if (visible) last = [node, text.length];
	}
	return last;
}

/**
 * Runs `change`, which exchanges elements in `root`, and selects the same words as before.
 *
 * @param {Element} root
 * @param {() => void} change
 */
export function keepSelection(root, change) {
	const selection = document.getSelection();
	if (!selection || selection.isCollapsed) return change();
	const { anchorNode, anchorOffset, focusNode, focusOffset } = selection;
	if (!anchorNode || !focusNode || !(root.contains(anchorNode) || root.contains(focusNode))) return change();
	const range = selection.getRangeAt(0);
	const isForward = range.startContainer === anchorNode && range.startOffset === anchorOffset;
	const text = selection.toString();
	/** @param {Node} node @param {number} offset */
	const keep = (node, offset) => (root.contains(node) ? charactersBefore(root, node, offset) : null);
	const [anchor, focus] = [keep(anchorNode, anchorOffset), keep(focusNode, focusOffset)];
	change();
	const isSame = selection.anchorNode === anchorNode && selection.focusNode === focusNode;
	if (isSame && selection.toString() === text) return;
	/** @param {number | null} characters @param {Node} node @param {number} offset @param {boolean} isEnd */
	const find = (characters, node, offset, isEnd) =>
		characters === null ? /** @type {[Node, number]} */ ([node, offset]) : placeBehind(root, characters, isEnd);
	selection.setBaseAndExtent(
		...find(anchor, anchorNode, anchorOffset, !isForward),
		...find(focus, focusNode, focusOffset, isForward),
	);
}

/**
 * Runs `change`, which exchanges elements in `root`, and takes over how far code and tables are scrolled, which code is
 * wrapped, and what has the focus.
 *
 * @param {Element} root
 * @param {() => void} change
 */
export function keepPlaces(root, change) {
	const before = [...root.querySelectorAll(PLACES)].map((node) => ({ node, left: node.scrollLeft }));
	const focused = document.activeElement;
	change();
	const after = root.querySelectorAll(PLACES);
	before.forEach(({ node, left }, index) => {
		const now = after[index];
		if (node.isConnected || now?.localName !== node.localName) return;
		if (node.closest(".wrapped") && !now.closest(".wrapped")) {
			/** @type {HTMLElement | null | undefined} */ (now.closest(".code")?.querySelector(".wrap"))?.click();
		}
		if (left) now.scrollLeft = left;
		if (node === focused) /** @type {HTMLElement} */ (now).focus({ preventScroll: true });
	});
}
