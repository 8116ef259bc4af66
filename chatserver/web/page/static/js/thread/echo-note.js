/**
 * A line under the first answer of a conversation if nobody but the echo gave it: nobody shall take it for a model.
 *
 * @import { Agents } from "../company/agents.js"
 * @import { Providers } from "../company/providers.js"
 * @import { Message } from "../server/resources.js"
 */

import { t } from "../base/language.js";
import { element } from "../ui/dom.js";

/** @param {{ agents: Agents, providers: Providers }} context */
export const createEchoNote = ({ agents, providers }) => {
	const help = element("a", { href: "/help" }, t("How to connect a model"));
	const choose = element("p", { class: "echo-note" }, t("Echo: choose an agent to ask a model."));
	const connect = element("p", { class: "echo-note" }, t("Echo: no model is connected yet."), " ", help);

	/**
	 * Whether the echo answered because no agent was chosen, and would again. What the server generated itself took time,
	 * and of all that generate only the echo has no model.
	 *
	 * @param {Message} answer
	 */
	const isByEcho = ({ agentId, durationMs, model }) =>
		durationMs !== null &&
		model === null &&
		providers.isLoaded() &&
		!providers.modelAnswers() &&
		!(agentId && agents.find(agentId));

	return {
		/** Returns the line, if one belongs under this answer. @param {Message} answer */
		under: (answer) => (isByEcho(answer) ? [providers.haveModel() ? choose : connect] : []),
	};
};
