/**
 * The agents of a company: their names, their models, and what people change about them.
 *
 * @import { BrowserTabs } from "../base/browser-tabs.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { Providers } from "./providers.js"
 *
 * @typedef {ReturnType<typeof createAgents>} Agents
 */

import { t } from "../base/language.js";
import { ApiError } from "../server/api.js";

/** A list of more agents is of no use. Removed ones do not count. */
const MOST_AGENTS = 1000;
/** Other people change agents rarely, so the list is requested much less often than conversations. */
const FRESH_SECONDS = 30;

/** How an agent is set up. The API describes it by what an agent is made of. @param {Api.Agent | null} agent */
export const configOf = (agent) => /** @type {Api.LlmConfig} */ (agent?.adapterConfig ?? {});

/**
 * @param {{ api: ApiClient, tabs: BrowserTabs, providers: Providers }} context
 * @param {string} companyId
 * @param {() => void} onChange agents, or who answers by default, are not what they were
 */
export const createAgents = ({ api, tabs, providers }, companyId, onChange) => {
	/** By id, removed ones included: answers that they gave keep their names. @type {Map<string, Api.Agent>} */
	let known = new Map();
	let shown = "";
	let loadedAt = -Infinity;
	/** How many changes were made here. A list that was requested before one lacks it. */
	let changes = 0;

	/** @param {Map<string, Api.Agent>} agents */
	const take = (agents) => {
		known = agents;
		const now = JSON.stringify([[...agents.values()], providers.all(), providers.defaultName()]);
		if (now === shown) return;
		shown = now;
		onChange();
	};

	/** @param {Api.Agent} agent */
	const note = (agent) => {
		changes += 1;
		take(new Map([...known, [agent.id, agent]]));
		tabs.tell({ kind: "agents" });
		return agent;
	};

	/** @param {Api.Agent} agent @returns {Api.Agent} */
	const removed = (agent) => ({ ...agent, status: "removed" });

	/** If a request failed because somebody has removed the agent meanwhile. @param {Api.Agent} agent */
	const noteIfGone = (agent) => (/** @type {unknown} */ error) => {
		if (error instanceof ApiError && error.status === 404) note(removed(agent));
		throw error;
	};

	const list = async () => {
		/** @type {Map<string, Api.Agent>} */
		const agents = new Map();
		/** @type {string | null} */
		let cursor = null;
		let active = 0;
		do {
			/** @type {Api.AgentPage} */
			const page = await api.listAgents(companyId, { status: "all", limit: 100, cursor });
			for (const agent of page.items) agents.set(agent.id, agent);
			active += page.items.filter(({ status }) => status === "active").length;
			cursor = page.nextCursor;
		} while (cursor && active < MOST_AGENTS);
		return agents;
	};

	/** The agent that can be chosen. @param {string | null} id */
	const find = (id) => {
		const agent = id === null ? undefined : known.get(id);
		return agent?.status === "active" ? agent : null;
	};

	/** @param {Api.Agent} agent */
	const modelOf = (agent) => {
		const { provider, model } = configOf(agent);
		const configured = providers.find(provider);
		if (agent.adapterType === "echo" || configured?.kind === "echo") return t("Repeats what you write");
		return model ?? configured?.model ?? provider ?? "";
	};

	return {
		/** Whether it is known who can be chosen. */
		isLoaded: () => loadedAt > 0,
		/** Pairs of id and name of those that can be chosen, the oldest first. */
		all: () => [...known.values()].flatMap(({ id, name, status }) => (status === "active" ? [[id, name]] : [])),
		find,
		/**
		 * The name of who answers or answered. Conversations may name agents that are not registered.
		 *
		 * @param {string | null} id null: no agent was chosen
		 */
		nameOf: (id) =>
			id === null ? providers.defaultName() : (known.get(id)?.name ?? t("Agent {id}", { id: id.slice(0, 8) })),
		/** The model that answers, or why another one does. @param {string | null} id null: no agent was chosen */
		noteOn(id) {
			const agent = find(id);
			if (agent) return modelOf(agent);
			const name = providers.defaultName();
			if (id === null) return providers.modelAnswers() ? t("The model itself") : t("Repeats what you write");
			return known.has(id) ? t("Removed: {name} answers", { name }) : t("Not registered: {name} answers", { name });
		},
		/** @returns {Promise<void>} */
		async load() {
			const before = changes;
			const [agents] = await Promise.all([list(), providers.load()]);
			if (before !== changes) return this.load();
			loadedAt = performance.now();
			take(agents);
		},
		isOld: () => performance.now() - loadedAt > FRESH_SECONDS * 1000,
		/** @param {Api.CreateAgent} fields */
		create: async (fields) => note(await api.createAgent(companyId, fields)),
		/** @param {Api.Agent} agent @param {Api.UpdateAgent} fields */
		update: async (agent, fields) => note(await api.updateAgent(agent.id, fields).catch(noteIfGone(agent))),
		/** @param {Api.Agent} agent */
		async remove(agent) {
			await api.deleteAgent(agent.id).catch(noteIfGone(agent));
			note(removed(agent));
		},
	};
};
