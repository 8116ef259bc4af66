/**
 * Small helpers for the DOM. Text is inserted as text; only rendered-html.js inserts markup.
 *
 * @typedef {string | number | boolean | null | undefined | ((event: any) => void)} Attribute
 */

/**
 * Builds one element. A function becomes a listener of the event that its key names. `true` becomes an empty
 * attribute; `false`, null and undefined are left out.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, Attribute>} [attributes]
 * @param {...(Node | string)} children
 */
export function element(tag, attributes = {}, ...children) {
	const node = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (typeof value === "function") node.addEventListener(name, value);
		else if (value === true) node.setAttribute(name, "");
		else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, `${value}`);
	}
	node.append(...children);
	return node;
}

/** @param {string} name @param {(event: any) => void} click @param {string} [style] */
export function button(name, click, style = "button") {
	return element("button", { type: "button", class: style, click }, name);
}

/**
 * Whether a key belongs to an input method that is composing; Safari tells so by the key code only.
 *
 * @param {KeyboardEvent} event
 */
export function isComposing(event) {
	return event.isComposing || event.keyCode === 229;
}

/** Makes a box as high as its text. @param {HTMLTextAreaElement} box */
export function fitHeight(box) {
	box.style.height = "auto";
	box.style.height = `${box.scrollHeight + box.offsetHeight - box.clientHeight}px`;
}

/**
 * Changes what is in `container`. If the focused element is moved within it, it keeps the focus.
 *
 * @param {Element} container
 * @param {() => void} change
 */
export function keepFocus(container, change) {
	const focused = document.activeElement;
	change();
	if (focused instanceof HTMLElement && focused !== document.activeElement && container.contains(focused)) {
		focused.focus({ preventScroll: true });
	}
}

/**
 * Makes `nodes` the children of `parent`, in this order. Only nodes at another position are moved: the others keep
 * their selection and scroll position. The focus goes back to where it was.
 *
 * @param {Element} parent
 * @param {readonly Element[]} nodes
 */
export function placeInOrder(parent, nodes) {
	const wanted = new Set(nodes);
	keepFocus(parent, () => {
		for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
		let next = parent.firstElementChild;
		for (const node of nodes) {
			if (node === next) next = next.nextElementSibling;
			else parent.insertBefore(node, next);
		}
	});
}
