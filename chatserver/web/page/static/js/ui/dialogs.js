/** Modal dialogs. */

import { t } from "../base/language.js";
import { button, element } from "./dom.js";

/** @param {string} title the current one @param {(title: string) => void} onTitle */
export function askTitle(title, onTitle) {
	const input = element("input", { id: "dialog-input", maxlength: 200, autocomplete: "off", dir: "auto", value: title });
	const cancel = button(t("Cancel"), () => dialog.close());
	const save = element("button", { class: "button primary" }, t("Save"));
	/** @param {SubmitEvent} event */
	const submit = (event) => {
		event.preventDefault();
		dialog.close();
		onTitle(input.value.trim());
	};
	const form = element(
		"form",
		{ submit },
		element("h2", { id: "dialog-title" }, t("Rename")),
		element("label", { for: input.id }, t("Title")),
		input,
		element("div", { class: "row" }, cancel, save),
	);
	const dialog = element("dialog", { "aria-labelledby": "dialog-title", close: () => dialog.remove() }, form);
	document.body.append(dialog);
	dialog.showModal();
	input.select();
}
