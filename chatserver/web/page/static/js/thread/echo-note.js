/**
 * A line under the first answer of a conversation if nobody but the echo gave it: nobody shall take it for a model.
 *
 * @import { Agents } from "../company/agents.js"
 * @import { Providers } from "../company/providers.js"
 * @import { Message } from "../server/resources.js"
 */

import { t } from "../base/language.js";
import { element } from "../ui/dom.js";

/** With this every answer of the echo begins. */
const BEGINNING = "Echo from agent: ";

/** @param {{ agents: Agents, providers: Providers }} context */
export const createEchoNote = ({ agents, providers }) => {
	const note = element("p", { class: "echo-note" });

	/** Whether the echo answered because no agent was chosen, and would again. @param {Message} answer */
	const isByEcho = ({ agentId, content }) =>
		content.startsWith(BEGINNING) &&
		providers.isLoaded() &&
		!providers.modelAnswers() &&
		!(agentId && agents.find(agentId));

	return {
		/** Returns the line, if one belongs under this answer. @param {Message} answer */
		under(answer) {
			if (!isByEcho(answer)) return [];
			const help = element("a", { href: "/help" }, t("How to connect a model"));
			if (providers.haveModel()) note.replaceChildren(t("Echo: choose an agent to ask a model."));
			else note.replaceChildren(t("Echo: no model is connected yet."), " ", help);
			return [note];
		},
	};
};
