/**
 * One conversation in the list: its title, what is to be known about it, and its menu.
 *
 * @import { Parents } from "./parents.js"
 */

import { t } from "../base/language.js";
import { addressOf } from "../base/router.js";
import { titleOf } from "../server/resources.js";
import { element, placeInOrder } from "../ui/dom.js";
import { icon, iconButton } from "../ui/icons.js";

/** @param {string} style @param {string} name */
const createDot = (style, name) =>
	element("span", { class: `dot ${style}`, role: "img", "aria-label": name, title: name });

/** @param {Api.Conversation} conversation @param {Parents} parents */
function createBranchMark({ parentConversationId }, parents) {
	const mark = element("span", { class: "branch-mark", role: "img" }, icon("branch"));
	/** @param {string | null | undefined} title null: the parent is gone; undefined: not known yet */
	const name = (title) => {
		mark.title = parents.describe(title);
		mark.setAttribute("aria-label", mark.title);
	};
	const id = parentConversationId ?? "";
	name(parents.known(id));
	return { mark, load: () => parents.title(id).then(name, () => {}) };
}

/**
 * @param {Api.Conversation} conversation
 * @param {Parents} parents
 * @param {(button: HTMLElement) => void} onOptions
 */
export function createRow(conversation, parents, onOptions) {
	const { id } = conversation;
	const link = element("a", {
		class: "conversation-link",
		dir: "auto",
		id: `conversation-${id}`,
		href: addressOf(id),
		"aria-describedby": `marks-${id}`,
	});
	const answering = createDot("answering", t("Answering"));
	const unseen = createDot("unseen", t("New answer"));
	const marks = element("span", { class: "marks", id: `marks-${id}` });
	const options = iconButton(t("Options"), "more", () => onOptions(options));
	options.setAttribute("aria-describedby", link.id);
	options.setAttribute("aria-haspopup", "menu");
	const row = element("li", { class: "conversation" }, link, marks, options);
	/** @type {HTMLElement | null} */
	let branch = null;
	if (conversation.parentConversationId) {
		const { mark, load } = createBranchMark(conversation, parents);
		branch = mark;
		// Only for rows that somebody is at: thousands of requests would be too many.
		for (const event of ["pointerenter", "focusin"]) row.addEventListener(event, load, { once: true });
	}

	return {
		element: row,
		/**
		 * @param {Api.Conversation} now
		 * @param {{ isOpen: boolean, isUnseen: boolean }} state
		 */
		update(now, { isOpen, isUnseen }) {
			const title = titleOf(now);
			if (link.textContent !== title) link.textContent = link.title = title;
			const dot = now.activeRun ? answering : isUnseen ? unseen : null;
			// Screen readers read a description also if it is hidden, so what does not hold is not there.
			placeInOrder(marks, [branch, dot].filter((mark) => mark !== null));
			row.classList.toggle("unseen", dot === unseen);
			if (isOpen) link.setAttribute("aria-current", "page");
			else link.removeAttribute("aria-current");
		},
	};
}
