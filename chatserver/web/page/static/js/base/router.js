/**
 * The page's addresses: `/` is a new conversation, `/c/{id}` an existing one, `/c/{id}#m-{id}` a message in it.
 *
 * @typedef {{ conversationId: string | null, messageId: string | null }} Route
 */

const UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
const PATH = new RegExp(`^/(?:c/(${UUID}))?$`, "i");
const HASH = new RegExp(`^#${messageAnchor(`(${UUID})`)}$`, "i");

/** The id of the element that shows a message. @param {string} messageId */
export function messageAnchor(messageId) {
	return `m-${messageId}`;
}

/** @param {string | null} conversationId @param {string | null} [messageId] */
export function addressOf(conversationId, messageId = null) {
	return conversationId ? `/c/${conversationId}${messageId ? `#${messageAnchor(messageId)}` : ""}` : "/";
}

/** @param {{pathname: string, hash: string}} address @returns {Route | null} null: not an address of this page */
export function parseAddress({ pathname, hash }) {
	const [path, message] = [PATH.exec(pathname), HASH.exec(hash)];
	return path && { conversationId: path[1]?.toLowerCase() ?? null, messageId: message?.[1].toLowerCase() ?? null };
}

/**
 * @param {(route: Route, isReturn: boolean) => void} onRoute `isReturn`: by the browser's back or forward
 */
export const createRouter = (onRoute) => {
	const tell = (isReturn = false) =>
		onRoute(parseAddress(location) ?? { conversationId: null, messageId: null }, isReturn);

	/** Changes the address without calling `onRoute`: the page shows it already. @param {string} address */
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
		const { altKey, button, ctrlKey, defaultPrevented, metaKey, shiftKey, target } = event;
		if (defaultPrevented || button || metaKey || ctrlKey || shiftKey || altKey) return;
		const link = target instanceof Element ? target.closest("a") : null;
		if (!link || link.target || link.hasAttribute("download")) return;
		if (link.origin !== location.origin || !parseAddress(link)) return;
		event.preventDefault();
		go(link.pathname + link.hash);
	};

	return {
		record,
		go,
		/** From now on `onRoute` is called for each address that is opened, the first one included. */
		start() {
			addEventListener("popstate", () => tell(true));
			document.addEventListener("click", click);
			tell();
		},
	};
};
