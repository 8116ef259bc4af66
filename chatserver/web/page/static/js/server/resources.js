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

/**
 * An answer that this page has read to its end. The refresh that follows brings what else the server knows.
 *
 * @param {Pick<Message, "id" | "replyTo" | "content" | "status">} answer
 * @param {string} conversationId
 * @param {string | null} agentId
 * @returns {Message}
 */
export function answerJustStored(answer, conversationId, agentId) {
	return {
		...answer,
		conversationId,
		agentId,
		role: "assistant",
		createdAt: new Date().toISOString(),
		editedContent: null,
		editedAt: null,
		supersededAt: null,
		usage: null,
		model: null,
		stopReason: null,
		durationMs: null,
		reasoning: null,
		author: null,
		failure: null,
	};
}
