/**
 * Below the title of a branch: where it was branched off.
 *
 * @import { Parents } from "./parents.js"
 */

import { addressOf } from "../base/router.js";
import { element } from "../ui/dom.js";
import { icon } from "../ui/icons.js";

/**
 * Returns a function that shows the origin of a conversation.
 *
 * @param {HTMLElement} line
 * @param {Parents} parents
 */
export const createOrigin = (line, parents) => {
	/** The branch that is shown. */
	let shownId = "";
	/** What the line says. */
	let shownText = "";

	/** @param {Api.Conversation} branch @param {string | null | undefined} title */
	const paint = ({ parentConversationId, branchFromMessageId }, title) => {
		const text = parents.describe(title);
		if (text === shownText) return;
		shownText = text;
		const label = element("span", { dir: "auto", class: "origin-text" }, text);
		const href = addressOf(parentConversationId, branchFromMessageId);
		const isGone = title === null;
		line.replaceChildren(element(isGone ? "span" : "a", isGone ? {} : { href, title: text }, icon("branch"), label));
	};

	return (/** @type {Api.Conversation | null} */ conversation) => {
		const parent = conversation?.parentConversationId;
		line.hidden = !parent;
		if (!conversation || !parent) {
			shownId = "";
			return;
		}
		const isNew = conversation.id !== shownId;
		if (isNew) [shownId, shownText] = [conversation.id, ""];
		paint(conversation, parents.known(parent));
		if (!isNew) return;
		parents.title(parent).then((title) => conversation.id === shownId && paint(conversation, title), () => {});
	};
};
