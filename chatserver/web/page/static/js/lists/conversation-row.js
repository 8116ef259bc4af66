/**
 * One conversation in the list: its title, what is to be known about it, and its menu.
 *
 * @import { Parents } from "./parents.js"
 */

import { t } from "../base/language.js";
import { addressOf } from "../base/router.js";
import { titleOf } from "../server/resources.js";
import { element } from "../ui/dom.js";
import { icon, iconButton } from "../ui/icons.js";

/** @param {"answering" | "unseen"} state */
function createDot(state) {
	const name = state === "answering" ? t("Answering") : t("New answer");
	return element("span", { class: `dot ${state}`, role: "img", "aria-label": name, title: name });
}

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
	const marks = element("span", { class: "row-marks", id: `marks-${id}` });
	const options = iconButton(t("Options"), "more", () => onOptions(options));
	options.setAttribute("aria-describedby", link.id);
	options.setAttribute("aria-haspopup", "menu");
	const row = element("li", { class: "conversation" }, link, marks, options);
	/** @type {HTMLElement[]} */
	const branchMarks = [];
	if (conversation.parentConversationId) {
		const { mark, load } = createBranchMark(conversation, parents);
		branchMarks.push(mark);
		// Only for rows that somebody is at: thousands of requests would be too many.
		for (const event of ["pointerenter", "focusin"]) row.addEventListener(event, load, { once: true });
	}

	/** What the row shows. Thousands of them are updated every other second: only what has changed is touched. */
	let title = "";
	let isCurrent = false;
	/** @type {"answering" | "unseen" | null | undefined} */
	let state;

	return {
		element: row,
		/**
		 * @param {Api.Conversation} now
		 * @param {{ isOpen: boolean, isUnseen: boolean }} state
		 */
		update(now, { isOpen, isUnseen }) {
			if (title !== titleOf(now)) title = link.textContent = link.title = titleOf(now);
			const wanted = now.activeRun ? "answering" : isUnseen ? "unseen" : null;
			if (wanted !== state) {
				state = wanted;
				// Screen readers read a description also if it is hidden, so what does not hold is not there.
				marks.replaceChildren(...branchMarks, ...(state ? [createDot(state)] : []));
				row.classList.toggle("unseen", state === "unseen");
			}
			if (isOpen === isCurrent) return;
			isCurrent = isOpen;
			if (isOpen) link.setAttribute("aria-current", "page");
			else link.removeAttribute("aria-current");
		},
	};
}
