/** Keeps the agent that one chose for a conversation on the server: the last choice, whatever came late or failed. */

import { describe, problem } from "../ui/feedback.js";
import { coalesce } from "../base/coalesce.js";

/** @type {CreateAgentSetting} */
export const createAgentSetting = ({ api, agentSelect, composer }, conversation) => {
	/** @type {string | null} */
	let wanted = null;
	let saving = Promise.resolve();

	const save = coalesce(async () => {
		const id = await conversation.id();
		if (!id) return; // It is created with what the select says.
		const saved = await api.updateConversation(id, { agentId: wanted });
		if (saved.agentId === wanted) conversation.onSaved(saved);
	});

	/** @param {string | null} agentId */
	const set = (agentId) => {
		wanted = agentId;
		composer.clearProblem();
		const request = (saving = save.request());
		request.catch((error) => {
			// Of choices that failed together, one says so.
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

	return { set, saved: () => saving };
};
