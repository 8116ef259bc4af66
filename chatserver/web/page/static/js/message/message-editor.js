/** The form in which a message is edited. */

import { t } from "../base/language.js";
import { button, element, fitHeight, isComposing } from "../ui/dom.js";
import { describe, problem } from "../ui/feedback.js";
import { isSendKey } from "../ui/send-key.js";

/**
 * @param {string} content to begin with
 * @param {object} handlers
 * @param {(text: string) => Promise<void>} handlers.onSave fails with an error that the editor shows
 * @param {() => void} handlers.onClose
 * @param {(text: string) => void} handlers.onLost the editor was closed while it saved, and saving failed
 */
export const editMessage = (content, { onSave, onClose, onLost }) => {
	const box = element("textarea", { "aria-label": t("Edit message"), dir: "auto", rows: 1 });
	box.value = content;
	const save = element("button", { class: "button primary" }, t("Send"));
	const hint = element("span", { class: "hint" }, t("The answer is written again; earlier versions are kept."));
	const trouble = element("div");

	const cancel = button(t("Cancel"), onClose);

	const submit = async () => {
		if (!box.value.trim() || save.disabled) return box.focus();
		save.disabled = cancel.disabled = true;
		trouble.replaceChildren();
		try {
			await onSave(box.value);
			onClose();
		} catch (error) {
			trouble.replaceChildren(problem(describe(error)));
			save.disabled = cancel.disabled = false;
			if (!form.isConnected) onLost(box.value);
		}
	};

	const form = element(
		"form",
		{
			class: "edit",
			submit: (event) => {
				event.preventDefault();
				void submit();
			},
		},
		box,
		element("div", { class: "row" }, hint, cancel, save),
		trouble,
	);
	box.addEventListener("input", () => fitHeight(box));
	box.addEventListener("keydown", (event) => {
		if (isComposing(event)) return;
		if (event.key === "Escape") cancel.click();
		if (!isSendKey(event)) return;
		event.preventDefault();
		void submit();
	});
	return {
		form,
		/** The text in the box; null if it is unchanged or being saved. */
		unsaved: () => (box.value === content || save.disabled ? null : box.value),
		focus() {
			fitHeight(box);
			box.focus();
			box.setSelectionRange(content.length, content.length);
		},
	};
};
