/**
 * The models that the operator connected, and which of them answers where no agent is chosen.
 *
 * @import { ApiClient } from "../server/api.js"
 *
 * @typedef {ReturnType<typeof createProviders>} Providers
 */

/** @param {ApiClient} api */
export const createProviders = (api) => {
	/** @type {Api.Providers | null} */
	let known = null;

	/** @param {Api.ProviderSummary} provider */
	const isModel = (provider) => provider.kind !== "echo";

	return {
		load: async () => void (known = await api.listProviders()),
		isLoaded: () => known !== null,
		/** Whether the operator connected any model. */
		haveModel: () => Boolean(known?.items.some(isModel)),
		/** Whether a model answers where no agent is chosen. */
		modelAnswers: () => Boolean(known?.items.some((one) => one.name === known?.default && isModel(one))),
	};
};
