/** Addresses: `/` is a new conversation, `/c/{id}` one that exists, `#m-{id}` a message in it. */

const UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
const PATH = new RegExp(`^/(?:c/(${UUID}))?$`, "i");
const HASH = new RegExp(`^#m-(${UUID})$`, "i");

/** @param {string | null} conversationId @param {string | null} [messageId] */
export function addressOf(conversationId, messageId = null) {
	return conversationId ? `/c/${conversationId}${messageId ? `#m-${messageId}` : ""}` : "/";
}

/** @param {{pathname: string, hash: string}} address @returns {Route | null} null when it is none of this page's */
export function parseAddress({ pathname, hash }) {
	const path = PATH.exec(pathname);
	return path && { conversationId: path[1]?.toLowerCase() ?? null, messageId: HASH.exec(hash)?.[1].toLowerCase() ?? null };
}

/** @type {CreateRouter} */
export const createRouter = (onRoute) => {
	const tell = (isReturn = false) =>
		onRoute(parseAddress(location) ?? { conversationId: null, messageId: null }, isReturn);

	/** @param {string} address */
	const record = (address) => {
		if (address !== location.pathname + location.hash) history.pushState(null, "", address);
	};

	/** @param {string} address */
	const go = (address) => {
		record(address);
		tell();
	};

	/** @param {MouseEvent} event */
	const click = (event) => {
		if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
		const link = event.target instanceof Element ? event.target.closest("a") : null;
		if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin || !parseAddress(link)) return;
		event.preventDefault();
		go(link.pathname + link.hash);
	};

	return {
		record,
		go,
		start() {
			addEventListener("popstate", () => tell(true));
			document.addEventListener("click", click);
			tell();
		},
	};
};
