/**
 * The resources of the API, and how the page reads them.
 *
 * @typedef {Api.ChatMessage & { html?: string | null }} Message `html` is the server's rendering of an answer. If it is
 *   null or missing, the text is shown.
 */

import { t } from "../base/language.js";

/** The wording that models and people see. @param {Message} message */
export function effectiveContent(message) {
	return message.editedContent ?? message.content;
}

/** @param {Api.Conversation} conversation */
export function titleOf(conversation) {
	return conversation.title ?? t("New conversation");
}
