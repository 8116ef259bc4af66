/** One field of a form: its label, its hint, and what the server says is wrong with it. */

import { element } from "../ui/dom.js";
import { sentence } from "../ui/feedback.js";

/**
 * @param {string} path of the value in the body of the request, as `details` of an error name it
 * @param {string} name
 * @param {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} input
 * @param {string} [hint]
 * @param {string} [demand] what is said instead of the server's words
 */
export const createField = (path, name, input, hint, demand) => {
	const id = `field-${path.replace(".", "-")}`;
	const fault = element("p", { id: `${id}-fault`, class: "field-fault", dir: "auto" });
	const explanation = element("p", { id: `${id}-hint`, class: "field-hint" }, hint ?? "");
	explanation.hidden = !hint;
	input.id = id;
	if (hint) input.setAttribute("aria-describedby", explanation.id);

	return {
		path,
		element: element("div", { class: "field" }, element("label", { for: id }, name), input, explanation, fault),
		focus: () => input.focus(),
		/** Shows what is wrong with this field; returns whether anything is. @param {Api.Detail[]} details */
		showErrors(details) {
			const own = details.filter((detail) => detail.path === path);
			const parts = [own.length ? fault.id : "", hint ? explanation.id : ""].filter(Boolean);
			fault.textContent = demand && own.length ? demand : own.map(({ message }) => sentence(message)).join(" ");
			if (parts.length) input.setAttribute("aria-describedby", parts.join(" "));
			else input.removeAttribute("aria-describedby");
			if (own.length) input.setAttribute("aria-invalid", "true");
			else input.removeAttribute("aria-invalid");
			return own.length > 0;
		},
	};
};
