/** How roles and companies are called. */

import { t } from "../base/language.js";

/** @param {string} role */
export function roleName(role) {
	if (role === "reader") return t("Reader");
	return role === "member" ? t("Member") : t("Manager");
}

/** @param {Api.Company} company */
export const companyName = ({ id, name }) => name || id.slice(0, 8);
