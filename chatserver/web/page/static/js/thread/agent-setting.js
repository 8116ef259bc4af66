/**
 * Saves the agent that was chosen for a conversation. The last choice wins, even if requests are slow or fail.
 *
 * @import { ApiClient } from "../server/api.js"
 * @import { AgentSelect } from "../agents/agent-select.js"
 * @import { Composer } from "./composer.js"
 */

import { coalesce } from "../base/coalesce.js";
import { describe, problem } from "../ui/feedback.js";

/**
 * @param {{ api: ApiClient, agentSelect: AgentSelect, composer: Composer }} context
 * @param {object} conversation
 * @param {() => Promise<string | null>} conversation.id waits while it is being created; null: there is none yet
 * @param {() => string | null} conversation.current the agent that the server has stored
 * @param {() => boolean} conversation.isLeft whether it is not shown any more
 * @param {(conversation: Api.Conversation) => void} conversation.onSaved
 */
export const createAgentSetting = ({ api, agentSelect, composer }, conversation) => {
	/** @type {string | null} */
	let wanted = null;
	let saving = Promise.resolve();

	const save = coalesce(async () => {
		const id = await conversation.id();
		if (!id) return; // It will be created with the agent of the select.
		const saved = await api.updateConversation(id, { agentId: wanted });
		if (saved.agentId === wanted) conversation.onSaved(saved);
	});

	/** If saving fails, the error is shown, and the select shows the stored agent. @param {string | null} agentId */
	const set = (agentId) => {
		wanted = agentId;
		composer.clearProblem();
		const request = (saving = save.request());
		request.catch((error) => {
			// If several choices failed together, only the last one shows it.
			if (saving !== request) return;
			saving = Promise.resolve();
			if (conversation.isLeft()) return;
			agentSelect.show(conversation.current());
			const retry = () => {
				agentSelect.show(agentId);
				set(agentId);
			};
			composer.showProblem(problem(describe(error), retry));
		});
	};

	return {
		set,
		/** Resolves when the last choice is saved; fails if that failed. */
		saved: () => saving,
	};
};
