/**
 * The agents of a company and their names.
 *
 * @import { ApiClient } from "../server/api.js"
 *
 * @typedef {ReturnType<typeof createAgents>} Agents
 */

/** A select with more options is of no use. */
const MOST_AGENTS = 1000;

export const createAgents = () => {
	/** @type {Map<string, string>} */
	const names = new Map();

	return {
		/** Pairs of id and name. */
		all: () => [...names],
		/** The name of an agent that can be chosen. @param {string} agentId */
		find: (agentId) => names.get(agentId) ?? null,
		/** Conversations may name agents that are not registered. @param {string} agentId */
		nameOf: (agentId) => names.get(agentId) ?? `Agent ${agentId.slice(0, 8)}`,
		/** @param {ApiClient} api @param {string} companyId */
		async load(api, companyId) {
			/** @type {string | null} */
			let cursor = null;
			do {
				/** @type {Api.AgentPage} */
				const page = await api.listAgents(companyId, { limit: 100, cursor });
				for (const { id, name } of page.items) names.set(id, name);
				cursor = page.nextCursor;
			} while (cursor && names.size < MOST_AGENTS);
		},
	};
};
