/**
 * The resources of the API, and how the page reads them.
 *
 * @typedef {Api.ChatMessage & Partial<Api.RenderedMessage>} Message Only lists tell `html`, the server's rendering of
 *   an answer, and `formerAnswers`. Without `html` the text is shown.
 */

import { t } from "../base/language.js";

/** The wording that models and people see. @param {Message} message */
export function effectiveContent(message) {
	return message.editedContent ?? message.content;
}

/**
 * An answer that was stored just now, as far as its stream told. The next list has all that the server knows of it.
 *
 * @typedef {"id" | "conversationId" | "replyTo" | "content" | "status" | "agentId" | "reasoning" | "usage"
 *   | "stopReason"} Told
 * @param {Pick<Message, Told>} answer
 * @returns {Message}
 */
export function justStored(answer) {
	const createdAt = new Date().toISOString();
	const unedited = { editedContent: null, editedAt: null, supersededAt: null };
	const unknown = { model: null, durationMs: null, reasoningMs: null };
	return { ...answer, ...unedited, ...unknown, role: "assistant", createdAt, author: null, failure: null };
}

/** @param {Api.Conversation} conversation */
export function titleOf(conversation) {
	return conversation.title ?? t("New conversation");
}
