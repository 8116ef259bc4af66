/** Asking who is here, when the server wants to know. */

import { loadDialogs } from "./later.js";

/** @type {(api: () => Api) => () => void} gives what asks for a token, unless it is being asked for */
export const createSignIn = (api) => {
	let isAsking = false;
	/** @param {string} token */
	const signIn = async (token) => {
		await api().signIn(token);
		location.reload();
	};
	/** The next request that is refused asks again. */
	const onClose = () => {
		isAsking = false;
	};
	return async () => {
		if (isAsking) return;
		isAsking = true;
		await loadDialogs().then(({ askToken }) => askToken(signIn, onClose), onClose);
	};
};
