/**
 * Takes the place of the whole page when the server does not know who is here, or lets them see nothing.
 *
 * @import { BrowserTabs } from "../base/browser-tabs.js"
 * @import { ApiClient } from "../server/api.js"
 *
 * @typedef {object} Refusal
 * @property {Api.Session["mode"]} mode
 * @property {string | null} name of somebody who is signed in, but belongs to no company; null: nobody is
 * @property {boolean} hasEnded whether somebody was signed in until now
 */

import { onDemand } from "../ui/on-demand.js";

const loadView = onDemand(() => import("./sign-in-view.js"));

/** Takes away everything that the page shows, and closes its dialogs, which would ask before the page is left. */
export function clearPage() {
	for (const dialog of document.querySelectorAll("dialog")) dialog.close();
	document.body.replaceChildren();
	document.body.className = "signed-out";
	document.title = "chatserver";
}

/**
 * Returns a function that asks to sign in. It fails if what it takes cannot be loaded.
 *
 * @param {() => ApiClient} api
 * @param {BrowserTabs} tabs
 */
export const createSignIn = (api, tabs) => {
	let isShown = false;
	return async (/** @type {Refusal} */ refusal) => {
		if (isShown) return;
		isShown = true;
		clearPage();
		// Somebody signed in there: it counts for the whole browser.
		tabs.listen((news) => news.kind === "person" && news.person && location.reload());
		(await loadView()).showSignIn(api(), refusal);
	};
};
