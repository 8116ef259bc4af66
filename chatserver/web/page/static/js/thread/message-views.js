/**
 * The views of the messages of one conversation.
 *
 * @import { Me } from "../account/me.js"
 * @import { Agents } from "../company/agents.js"
 * @import { Bookmarks } from "../company/bookmarks.js"
 * @import { Providers } from "../company/providers.js"
 * @import { MessageActions, MessageState, MessageView } from "../message/message-view.js"
 * @import { Message } from "../server/resources.js"
 * @import { Announce } from "../ui/feedback.js"
 */

import { t } from "../base/language.js";
import { createMessageView } from "../message/message-view.js";
import { effectiveContent } from "../server/resources.js";

/**
 * @param {{ me: Me, agents: Agents, bookmarks: Bookmarks, providers: Providers, announce: Announce }} context
 * @param {MessageActions} actions
 * @param {(text: string) => void} onUnsaved a message is gone, with unsaved text in its editor
 */
export const createMessageViews = ({ me, agents, bookmarks, providers, announce }, actions, onUnsaved) => {
	/** By message id. @type {Map<string, MessageView>} */
	const views = new Map();
	/** Ids of answers that were generated while this thread was open. @type {Set<string>} */
	const finished = new Set();

	/** @param {Api.ChatMessage["role"]} role @param {string | null} agentId */
	const authorName = (role, agentId) => {
		if (role === "user") return t("You");
		if (role === "system") return t("System");
		return agents.nameOf(agentId);
	};

	/** @param {Message} message */
	const authorOf = (message) => {
		const { id, role, agentId, model } = message;
		// What was written before people signed in may be anybody's.
		if (role === "user" && !me.isMine(message)) return me.otherName(message) || t("Somebody");
		if (role !== "assistant" || agentId) return authorName(role, agentId);
		// The echo has no model, and imported answers name none: the model that answers now did not write them.
		const isUnknown = !model && providers.modelAnswers() && !finished.has(id);
		return isUnknown ? t("Agent") : (model ?? agents.nameOf(null));
	};

	/** @param {Api.ChatMessage["role"]} role @param {string | null} agentId */
	const create = (role, agentId) => createMessageView(role, authorName(role, agentId), actions);

	/** @param {Message} message */
	const viewOf = (message) => {
		const { id, role } = message;
		const view = views.get(id) ?? createMessageView(role, authorOf(message), actions);
		views.set(id, view);
		return view;
	};

	return {
		/** A view that belongs to no stored message yet. */
		create,
		viewOf,
		/** A user message is stored; `view` showed it on its way. @param {Message} message @param {MessageView} view */
		adopt({ id }, view) {
			if (!views.has(id)) views.set(id, view);
		},
		/** An answer is stored; `view` showed it while it was generated. @param {Message} answer @param {MessageView} view */
		finish(answer, view) {
			views.get(answer.id)?.close();
			views.set(answer.id, view);
			finished.add(answer.id);
			announce(`${authorOf(answer)}: ${effectiveContent(answer)}`);
		},
		/**
		 * Returns the element that shows the message.
		 *
		 * @param {Message} message
		 * @param {Omit<MessageState, "author" | "isByOther" | "canChange" | "canWrite" | "isBookmarked">} state
		 */
		update(message, state) {
			const view = viewOf(message);
			const [isByOther, canChange] = [me.otherName(message) !== "", me.canChange(message)];
			const can = { canChange, canWrite: me.canWrite };
			const isBookmarked = bookmarks.has(message.id);
			view.update(message, { ...state, ...can, author: authorOf(message), isByOther, isBookmarked });
			return view.element;
		},
		/** Drops the views of all other messages. @param {ReadonlySet<string>} ids */
		keepOnly(ids) {
			for (const [id, view] of views) {
				if (ids.has(id)) continue;
				views.delete(id);
				view.close();
				const unsaved = view.unsaved();
				if (unsaved !== null) onUnsaved(unsaved);
			}
		},
	};
};
