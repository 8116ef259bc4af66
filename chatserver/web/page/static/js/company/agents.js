/** Who answers: the agents of a company, and the choice among them for a conversation or one message. */

import { element } from "../ui/dom.js";

const ONCE = "once:";
/** No select serves for more. */
const MOST_AGENTS = 1000;

/** @type {() => Agents} */
export const createAgents = () => {
	/** @type {Map<string, string>} */
	const names = new Map();

	return {
		all: () => [...names],
		// One that is not registered answers all the same.
		nameOf: (agentId) => names.get(agentId) ?? `Agent ${agentId.slice(0, 8)}`,
		async load(api, companyId) {
			/** @type {string | null} */
			let cursor = null;
			do {
				/** @type {Page<Agent>} */
				const page = await api.listAgents(companyId, { limit: 100, cursor });
				for (const { id, name } of page.items) names.set(id, name);
				cursor = page.nextCursor;
			} while (cursor && names.size < MOST_AGENTS);
		},
	};
};

/** @type {CreateAgentSelect} */
export const createAgentSelect = (select, agents, onChange) => {
	/** @type {string | null} */
	let agentId = null;

	const once = () => (select.value.startsWith(ONCE) ? select.value.slice(ONCE.length) : null);

	/** @param {string} label @param {[value: string, text: string][]} options */
	const group = (label, options) =>
		element("optgroup", { label }, ...options.map(([value, text]) => element("option", { value }, text)));

	/** @param {string | null} id */
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
		chosen: () => agentId,
		clearOnce() {
			select.value = agentId ?? "";
		},
	};
};
