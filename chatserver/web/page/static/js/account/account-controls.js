/** For those who sign in: the company whose conversations are shown, where there are several, and signing out. */

import { element } from "../ui/dom.js";
import { drafts, forgetAll, forThisTab, recall, remember } from "../base/storage.js";

/** @type {(parts: PageParts, api: Api, session: Session, companyId: string) => void} */
export const showAccount = ({ company, signOut }, api, { mode, companies }, companyId) => {
	const select = element("select", {
		change: () => {
			remember("company", select.value);
			// What a new conversation was to begin with stays with its company.
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
		// The next one who sits here is not to find, let alone send, what was written.
		forgetAll();
		location.assign("/");
	};
	signOut.addEventListener("click", () => api.signOut().finally(leave));
};
