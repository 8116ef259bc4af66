/**
 * The server's HTML as elements of the page: the only markup that the page inserts, since the server has cleaned it.
 *
 * @import { Announce } from "../ui/feedback.js"
 *
 * @typedef {(element: Element) => Element} Decorate Returns what is shown in place of an element that is in no
 *   document: code in a frame with its buttons, and tables in boxes that scroll by themselves.
 */

import { t } from "../base/language.js";
import { copyButton } from "../ui/clipboard.js";
import { element } from "../ui/dom.js";
import { iconButton } from "../ui/icons.js";

/** The server renders no longer texts. */
export const MOST_CHARACTERS = 200_000;

/** Marks frames whose code is wider than they are: these can wrap its lines. */
const widths = new ResizeObserver((entries) => {
	for (const { target } of entries) {
		target.parentElement?.classList.toggle("overflows", target.scrollWidth > target.clientWidth);
	}
});

/** The elements of the server's HTML. @param {string} html */
export function elementsOf(html) {
	const template = element("template");
	template.innerHTML = html;
	return [...template.content.children];
}

/** @param {Element} box @param {Element} wide */
function wrap(box, wide) {
	wide.replaceWith(box);
	box.append(wide);
}

/** @param {HTMLElement} pre @param {Announce} announce */
function frame(pre, announce) {
	const language = pre.firstElementChild?.className.replace("language-", "") ?? "";
	const lines = iconButton(t("Wrap lines"), "wrap", () => {
		lines.setAttribute("aria-pressed", `${box.classList.toggle("wrapped")}`);
	});
	lines.classList.add("wrap");
	lines.setAttribute("aria-pressed", "false");
	const copy = copyButton(t("Copy code"), () => pre.textContent ?? "", announce);
	const head = element("div", { class: "code-head" }, element("span", { class: "language" }, language), lines, copy);
	const box = element("div", { class: "code" }, head);
	wrap(box, pre);
	pre.tabIndex = 0; // so that it can be scrolled by keyboard
	widths.observe(pre);
}

/** @param {Announce} announce @returns {Decorate} */
export const createDecorate = (announce) => (root) => {
	const holder = element("div", {}, root);
	for (const pre of holder.querySelectorAll("pre")) frame(pre, announce);
	for (const table of holder.querySelectorAll("table")) wrap(element("div", { class: "wide", tabindex: 0 }), table);
	return holder.children[0];
};
