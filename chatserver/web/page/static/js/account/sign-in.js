/**
 * Asks for a token when the server wants to know who is here.
 *
 * @import { ApiClient } from "../server/api.js"
 */

import { onDemand } from "../ui/on-demand.js";

const loadDialogs = onDemand(() => import("../ui/dialogs.js"));

/**
 * Returns a function that asks for a token, unless it is asking already. Its promise resolves when the dialog is closed
 * or cannot be loaded; the next request that is refused asks again.
 *
 * @param {() => ApiClient} api
 */
export const createSignIn = (api) => {
	/** @type {Promise<void> | null} */
	let asking = null;
	/** @param {string} token */
	const signIn = async (token) => {
		await api().signIn(token);
		location.reload();
	};
	const ask = async () => void (await (await loadDialogs()).askToken(signIn));
	return () => (asking ??= ask().catch(() => {}).finally(() => (asking = null)));
};
