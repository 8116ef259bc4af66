/**
 * Copying, also over plain HTTP, where browsers do not offer `navigator.clipboard`.
 *
 * @import { Announce } from "./feedback.js"
 */

import { t } from "../base/language.js";
import { element } from "./dom.js";
import { icon, iconButton } from "./icons.js";

const COPIED_SECONDS = 1.5;

/** @param {string} text @returns {Promise<boolean>} whether it was copied */
async function copyText(text) {
	if (navigator.clipboard) {
		return navigator.clipboard.writeText(text).then(() => true, () => false);
	}
	const focused = document.activeElement;
	const box = element("textarea", { class: "visually-hidden" });
	box.value = text;
	document.body.append(box);
	box.select();
	const copied = document.execCommand("copy");
	box.remove();
	if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
	return copied;
}

/** @param {string} name @param {() => string} text is copied @param {Announce} announce */
export function copyButton(name, text, announce) {
	const button = iconButton(name, "copy", async () => {
		const copied = await copyText(text());
		announce(copied ? t("Copied") : t("The browser did not allow it to be copied"));
		if (!copied) return;
		button.replaceChildren(icon("check"));
		setTimeout(() => button.replaceChildren(icon("copy")), COPIED_SECONDS * 1000);
	});
	return button;
}
