/** What the browser shows of this tab: its title and its icon. */

import { formatNumber } from "../base/language.js";

const PRODUCT = "chatserver";

export const createTabTitle = () => {
	/** @type {HTMLLinkElement | null} */
	const link = document.querySelector("link[rel=icon]");
	const usual = link?.getAttribute("href") ?? "";
	let name = "";
	let count = 0;

	const show = () => {
		const news = count ? `(${formatNumber(count)}) ` : "";
		document.title = `${news}${name ? `${name} · ` : ""}${PRODUCT}`;
		const icon = count ? import.meta.resolve("../../icon-news.svg") : usual;
		if (link && link.getAttribute("href") !== icon) link.setAttribute("href", icon);
	};

	return {
		/** @param {string} text "" for none */
		setName(text) {
			name = text;
			show();
		},
		/** @param {number} news how many things there are to see; with any, the icon has a dot */
		setCount(news) {
			count = news;
			show();
		},
	};
};
