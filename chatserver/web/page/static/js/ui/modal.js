/** Modal dialogs with a title. Escape, a button and a press beside one close it; the focus returns to where it was. */

import { t } from "../base/language.js";
import { element } from "./dom.js";
import { iconButton } from "./icons.js";

/** @param {HTMLDialogElement} dialog @param {MouseEvent} event */
const isBeside = (dialog, { clientX, clientY }) => {
	const { left, right, top, bottom } = dialog.getBoundingClientRect();
	return clientX < left || clientX > right || clientY < top || clientY > bottom;
};

/** Only for dialogs without text that would be lost. @param {HTMLDialogElement} dialog */
export function closeOnPressBeside(dialog) {
	// Not on a click: one that ends beside the dialog may have begun within it, where text was selected.
	dialog.addEventListener("pointerdown", (event) => {
		if (event.target !== dialog || !isBeside(dialog, event)) return;
		event.preventDefault();
		dialog.close();
	});
}

let count = 0;

/**
 * Opens a dialog, which is removed once it is closed.
 *
 * @param {string} title
 * @param {string} style
 * @param {...HTMLElement} content
 */
export function openModal(title, style, ...content) {
	const heading = element("h2", { id: `modal-title-${++count}` }, title);
	const head = element("div", { class: "modal-head" }, heading, iconButton(t("Close"), "close", () => dialog.close()));
	const attributes = { class: style, "aria-labelledby": heading.id, close: () => dialog.remove() };
	const dialog = element("dialog", attributes, head, ...content);
	closeOnPressBeside(dialog);
	document.body.append(dialog);
	dialog.showModal();
	return dialog;
}
