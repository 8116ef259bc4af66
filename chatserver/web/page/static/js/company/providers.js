/**
 * The models that the operator connected for the company, and which of them answers where no agent is chosen.
 *
 * @import { ApiClient } from "../server/api.js"
 *
 * @typedef {ReturnType<typeof createProviders>} Providers
 */

import { t } from "../base/language.js";

/** @param {ApiClient} api @param {string} companyId */
export const createProviders = (api, companyId) => {
	/** @type {Api.Providers | null} */
	let known = null;

	/** @param {string | null | undefined} name */
	const find = (name) => known?.items.find((provider) => provider.name === name) ?? null;
	/** @param {Api.ProviderSummary} provider */
	const isModel = (provider) => provider.kind !== "echo";
	/** Who answers where no agent is chosen; null: the echo that is built in. */
	const byDefault = () => find(known?.default);

	return {
		load: async () => void (known = await api.listProviders(companyId)),
		isLoaded: () => known !== null,
		all: () => known?.items ?? [],
		find,
		/** Whether the operator connected any model. */
		haveModel: () => Boolean(known?.items.some(isModel)),
		/** What a new agent begins with: the model that answers by default, else the first one. */
		preferred: () => [byDefault(), ...(known?.items ?? [])].find((one) => one && isModel(one)) ?? null,
		/** Whether a model answers where no agent is chosen. */
		modelAnswers() {
			const provider = byDefault();
			return provider !== null && isModel(provider);
		},
		/** The name of who answers where no agent is chosen: a model's name says most. It is "" until it is known. */
		defaultName() {
			const provider = byDefault();
			if (!known) return "";
			return provider && isModel(provider) ? (provider.model ?? provider.name) : t("Echo");
		},
	};
};
