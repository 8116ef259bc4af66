/** The menu of the person who is signed in. */

import { t } from "../base/language.js";
import { element } from "../ui/dom.js";
import { icon } from "../ui/icons.js";
import { menuItem, openMenu } from "../ui/menu.js";
import { companyName } from "./names.js";

/**
 * Opens the menu beside a button.
 *
 * @param {HTMLElement} opener
 * @param {object} account
 * @param {readonly Api.Company[]} account.companies
 * @param {string} account.companyId shown now
 * @param {(id: string) => void} account.onCompany
 * @param {((everywhere: boolean) => void) | null} account.onSignOut null: this page cannot do that
 */
export function openAccountMenu(opener, { companies, companyId, onCompany, onSignOut }) {
	const choices = companies.map((company) => {
		const isShown = company.id === companyId;
		const name = element("bdi", {}, companyName(company));
		const item = menuItem([name, ...(isShown ? [icon("check")] : [])], () => isShown || onCompany(company.id));
		item.setAttribute("role", "menuitemradio");
		item.setAttribute("aria-checked", `${isShown}`);
		return item;
	});
	/** @type {HTMLElement[]} */
	const children = [];
	const title = element("p", { class: "menu-note", "aria-hidden": true }, t("Company"));
	if (companies.length > 1) children.push(title, ...choices);
	if (children.length && onSignOut) children.push(element("hr"));
	if (onSignOut) {
		const note = element("span", { class: "menu-note" }, t("In all browsers where this token was used"));
		children.push(menuItem(t("Sign out"), () => onSignOut(false)));
		children.push(menuItem([t("Sign out everywhere"), " ", note], () => onSignOut(true)));
	}
	openMenu(opener, { name: t("Account"), style: "menu account-menu", children });
}
