/**
 * The select below the text box: the conversation's agent, or one for the next message only.
 *
 * @import { Agents } from "../company/agents.js"
 *
 * @typedef {ReturnType<typeof createAgentSelect>} AgentSelect
 */

import { element } from "../ui/dom.js";

const ONCE = "once:";

/**
 * @param {HTMLSelectElement} select
 * @param {Agents} agents
 * @param {(agentId: string | null) => void} onChange the conversation's agent was chosen; null: the default
 */
export const createAgentSelect = (select, agents, onChange) => {
	/** @type {string | null} */
	let agentId = null;

	/** The agent that was chosen for the next message only. */
	const once = () => (select.value.startsWith(ONCE) ? select.value.slice(ONCE.length) : null);

	/** @param {string} label @param {[value: string, text: string][]} options */
	const group = (label, options) =>
		element("optgroup", { label }, ...options.map(([value, text]) => element("option", { value }, text)));

	/** Shows the conversation's agent; null: the default one. @param {string | null} id */
	const show = (id) => {
		const kept = once();
		agentId = id;
		const known = agents.all();
		const others = known.filter(([other]) => other !== id);
		if (id && others.length === known.length) known.push([id, agents.nameOf(id)]);
		select.replaceChildren(group("For this conversation", [["", "Default agent"], ...known]));
		if (others.length) {
			select.append(group("Just once", others.map(([other, name]) => [ONCE + other, `${name}, just once`])));
		}
		select.value = kept && kept !== id ? ONCE + kept : (id ?? "");
	};

	select.addEventListener("change", () => {
		if (once()) return;
		show(select.value || null);
		onChange(agentId);
	});

	return {
		show,
		once,
		/** The agent that was chosen for the conversation. */
		chosen: () => agentId,
		clearOnce() {
			select.value = agentId ?? "";
		},
	};
};
