/**
 * The titles of the conversations from which others were branched off.
 *
 * @import { ApiClient } from "../server/api.js"
 *
 * @typedef {ReturnType<typeof createParents>} Parents
 */

import { t } from "../base/language.js";
import { ApiError } from "../server/api.js";
import { titleOf } from "../server/resources.js";

/** @param {ApiClient} api */
export const createParents = (api) => {
	/** Null: it was deleted. @type {Map<string, string | null>} */
	const titles = new Map();

	return {
		/** The title as far as it is known; null: the conversation is gone. @param {string} id */
		known: (id) => titles.get(id),
		/** Keeps the title of a conversation that was received anyway. @param {Api.Conversation} conversation */
		note: (conversation) => void titles.set(conversation.id, titleOf(conversation)),
		/** Asks the server. Fails if it is away. @param {string} id @returns {Promise<string | null>} */
		async title(id) {
			try {
				titles.set(id, titleOf(await api.getConversation(id)));
			} catch (error) {
				if (!(error instanceof ApiError && error.status === 404)) throw error;
				titles.set(id, null);
			}
			return titles.get(id) ?? null;
		},
		/** @param {string | null | undefined} title */
		describe(title) {
			if (title === undefined) return t("Branched from another conversation");
			return title === null ? t("Branched from a deleted conversation") : t("Branched from “{title}”", { title });
		},
	};
};
