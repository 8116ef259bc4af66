/** Menus that open beside a button, and are gone when they are closed. */

import { element } from "./dom.js";

const MARGIN_PIXELS = 8;
/** Between the button and its menu. */
const GAP_PIXELS = 4;

/** @param {HTMLElement} menu @param {HTMLElement} opener */
function place(menu, opener) {
	const near = opener.getBoundingClientRect();
	const { width, height } = menu.getBoundingClientRect();
	const start = getComputedStyle(opener).direction === "rtl" ? near.right - width : near.left;
	const left = Math.min(start, innerWidth - width - MARGIN_PIXELS);
	const roomBelow = innerHeight - near.bottom - GAP_PIXELS - MARGIN_PIXELS;
	const roomAbove = near.top - GAP_PIXELS - MARGIN_PIXELS;
	const isBelow = height <= roomBelow || roomBelow >= roomAbove;
	const shown = Math.min(height, isBelow ? roomBelow : roomAbove);
	// Where it has room on neither side, it scrolls and does not cover its button.
	if (shown < height) menu.style.maxHeight = `${shown}px`;
	menu.style.left = `${Math.max(left, MARGIN_PIXELS)}px`;
	menu.style.top = `${isBelow ? near.bottom + GAP_PIXELS : near.top - GAP_PIXELS - shown}px`;
}

/**
 * One choice of a menu.
 *
 * @param {string | (string | Node)[]} name
 * @param {() => void} choose is called once the menu is closed, so that a dialog gives the focus back to the button
 * @param {string} [style]
 */
export const menuItem = (name, choose, style) =>
	element("button", { type: "button", role: "menuitem", tabindex: -1, class: style, click: choose }, ...[name].flat());

/**
 * Opens a menu below its button, or above it where there is no room.
 *
 * @param {HTMLElement} opener
 * @param {object} menu
 * @param {string} menu.name
 * @param {string} [menu.style]
 * @param {Node[]} menu.children elements of role "menuitem" or "menuitemradio", and what stands between them
 * @param {() => void} [menu.onClosed]
 */
export function openMenu(opener, { name, style = "menu", children, onClosed }) {
	const items = () => /** @type {HTMLElement[]} */ ([...menu.querySelectorAll("[role^=menuitem]")]);
	const menu = element(
		"div",
		{
			class: style,
			role: "menu",
			popover: "auto",
			"aria-label": name,
			/** @param {ToggleEvent} event */
			toggle({ newState }) {
				opener.setAttribute("aria-expanded", `${newState === "open"}`);
				if (newState === "open") return;
				menu.remove();
				onClosed?.();
			},
			/** @param {KeyboardEvent} event */
			keydown(event) {
				// It closes the menu, and not also the sidebar that it stands in.
				if (event.key === "Escape") return event.stopPropagation();
				const index = items().findIndex((one) => one === document.activeElement);
				const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: -1 }[event.key];
				if (next !== undefined) items().at(next % items().length)?.focus();
				else if (event.key === "Tab") menu.hidePopover();
				else return;
				event.preventDefault();
			},
		},
		...children,
	);
	const hide = (/** @type {Event} */ { target }) =>
		target instanceof Element && target.closest("[role^=menuitem]") && menu.hidePopover();
	menu.addEventListener("click", hide, { capture: true });
	// In a landmark, and not beside the button: a row or a message that is moved would close it.
	(opener.closest("nav, header, main") ?? document.body).append(menu);
	menu.showPopover();
	place(menu, opener);
	items()[0]?.focus();
}
