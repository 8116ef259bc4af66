/** For those who sign in: the company whose conversations are shown, where there are several, and signing out. */

import { element } from "./dom.js";
import { remember } from "./storage.js";

/** @type {(parts: PageParts, api: Api, session: Session, companyId: string) => void} */
export const showAccount = ({ company, signOut }, api, { mode, companies }, companyId) => {
	const select = element("select", {
		change: () => {
			remember("company", select.value);
			location.assign("/");
		},
	});
	select.append(...companies.map(({ id }) => element("option", { value: id, selected: id === companyId }, id.slice(0, 8))));
	company.append(select);
	company.hidden = companies.length < 2;
	signOut.hidden = mode !== "authenticated";
	signOut.addEventListener("click", () => api.signOut().finally(() => location.assign("/")));
};
