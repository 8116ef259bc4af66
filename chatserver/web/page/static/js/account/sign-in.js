/** Asking who is here, when the server wants to know. */

import { loadDialogs } from "../ui/on-demand.js";

/**
 * Gives what asks for a token, unless it is being asked for. It ends when that is waved away, or cannot be loaded: the
 * next request that is refused asks again.
 *
 * @type {(api: () => Api) => () => Promise<void>}
 */
export const createSignIn = (api) => {
	/** @type {Promise<void> | null} */
	let asking = null;
	/** @param {string} token */
	const signIn = async (token) => {
		await api().signIn(token);
		location.reload();
	};
	const ask = () => loadDialogs().then(({ askToken }) => askToken(signIn));
	return () => (asking ??= ask().catch(() => {}).finally(() => (asking = null)));
};
