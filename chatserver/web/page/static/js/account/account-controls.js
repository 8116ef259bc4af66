/**
 * Choosing the company whose conversations are shown, if there are several, and signing out.
 *
 * @import { ApiClient } from "../server/api.js"
 */

import { element } from "../ui/dom.js";
import { drafts, forgetAll, forThisTab, recall, remember } from "../base/storage.js";

/** @param {PageParts} parts @param {ApiClient} api @param {Api.Session} session @param {string} companyId shown now */
export const showAccountControls = ({ company, signOut }, api, { mode, companies }, companyId) => {
	const select = element("select", {
		change: () => {
			remember("company", select.value);
			// The draft of a new conversation belongs to the company.
			remember(`draft ${companyId}`, drafts.get(null), forThisTab);
			drafts.set(null, recall(`draft ${select.value}`, forThisTab));
			location.assign("/");
		},
	});
	for (const { id } of companies) {
		select.append(element("option", { value: id, selected: id === companyId }, id.slice(0, 8)));
	}
	company.append(select);
	company.hidden = companies.length < 2;
	signOut.hidden = mode !== "authenticated";
	const leave = () => {
		// The next person at this browser must not find, or even send, unsent text.
		forgetAll();
		location.assign("/");
	};
	signOut.addEventListener("click", () => api.signOut().finally(leave));
};
