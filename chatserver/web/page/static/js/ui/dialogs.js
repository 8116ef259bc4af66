/** Modal dialogs. */

import { t } from "../base/language.js";
import { ApiError } from "../server/api.js";
import { button, element } from "./dom.js";
import { describe, problem } from "./feedback.js";

/** @param {string} title @param {HTMLElement} label @param {HTMLElement} input @param {...HTMLElement} buttons */
function createDialog(title, label, input, ...buttons) {
	const trouble = element("div");
	const row = element("div", { class: "row" }, ...buttons);
	const form = element("form", {}, element("h2", { id: "dialog-title" }, title), label, input, trouble, row);
	const dialog = element("dialog", { "aria-labelledby": "dialog-title", close: () => dialog.remove() }, form);
	document.body.append(dialog);
	return { dialog, form, trouble };
}

/** @param {string} name */
const createLabel = (name) => element("label", { for: "dialog-input" }, name);
/** @param {string} name */
const createSubmit = (name) => element("button", { class: "button primary" }, name);

/** @param {string} title the current one @param {(title: string) => void} onTitle */
export function askTitle(title, onTitle) {
	const input = element("input", { id: "dialog-input", maxlength: 200, autocomplete: "off", dir: "auto", value: title });
	const cancel = button(t("Cancel"), () => dialog.close());
	const { dialog, form } = createDialog(t("Rename"), createLabel(t("Title")), input, cancel, createSubmit(t("Save")));
	form.addEventListener("submit", (event) => {
		event.preventDefault();
		dialog.close();
		onTitle(input.value.trim());
	});
	dialog.showModal();
	input.select();
}

/**
 * Asks for a token until one is accepted or the dialog is closed.
 *
 * @param {(token: string) => Promise<void>} signIn
 * @returns {Promise<unknown>} resolves when the dialog is closed
 */
export function askToken(signIn) {
	const attributes = { id: "dialog-input", type: "password", autocomplete: "current-password", required: true };
	const input = element("input", attributes);
	const submit = createSubmit(t("Sign in"));
	const { dialog, form, trouble } = createDialog(t("Sign in"), createLabel(t("Token")), input, submit);
	dialog.addEventListener("cancel", (event) => event.preventDefault());
	form.addEventListener("submit", async (event) => {
		event.preventDefault();
		submit.disabled = true;
		await signIn(input.value).catch((error) => {
			const isRefused = error instanceof ApiError && error.status === 401;
			trouble.replaceChildren(problem(isRefused ? t("This token is not accepted") : describe(error)));
			submit.disabled = false;
			input.select();
		});
	});
	dialog.showModal();
	// Browsers close the dialog at the second Escape, whatever `cancel` says.
	return new Promise((closed) => dialog.addEventListener("close", closed));
}
