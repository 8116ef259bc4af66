/**
 * Notices when this page does not fit any more who is here: somebody else, nobody, or a person with another role.
 *
 * @import { BrowserTabs } from "../base/browser-tabs.js"
 * @import { ApiClient } from "../server/api.js"
 */

import { coalesce } from "../base/coalesce.js";
import { t } from "../base/language.js";
import { forAll, forget, forThisTab, recall, remember } from "../base/storage.js";
import { roleName } from "./names.js";
import { isSamePerson, personOf, watchPerson } from "./person.js";
import { clearPage } from "./sign-in.js";

/** The role after it has changed, while the page is loaded anew. */
const NEW_ROLE = "new role";

/**
 * Returns a function that asks the server who is here.
 *
 * @param {ApiClient} api
 * @param {BrowserTabs} tabs
 * @param {Api.Session} session
 * @param {string} companyId shown now
 * @param {object} handlers
 * @param {() => void} handlers.onLeave the page is left: texts in editors are to be kept
 * @param {() => void} handlers.onSignedOut
 * @param {(text: string) => void} handlers.onNews
 */
export const watchSession = (api, tabs, session, companyId, { onLeave, onSignedOut, onNews }) => {
	const person = personOf(session);
	if (!person) return () => {};

	/** @param {Api.Session} of */
	const roleIn = ({ companies }) => companies.find(({ id }) => id === companyId)?.role ?? "";

	const renew = () => {
		onLeave();
		api.end();
		clearPage();
		location.reload();
	};

	const look = coalesce(async () => {
		const now = await api.session();
		if (!now.actor) return onSignedOut();
		const isSame = isSamePerson(personOf(now), person);
		if (isSame && roleIn(now) === roleIn(session)) return;
		if (isSame) remember(NEW_ROLE, roleIn(now), forThisTab);
		renew();
	});
	const tryLook = () => void look.request().catch(() => {});

	watchPerson(tabs, person, (other) => {
		api.end();
		clearPage();
		forget(forThisTab);
		if (other) return location.reload();
		forget(forAll);
		location.replace("/");
	});
	document.addEventListener("visibilitychange", () => document.hidden || tryLook());

	const role = recall(NEW_ROLE, forThisTab);
	remember(NEW_ROLE, "", forThisTab);
	if (!role || role !== roleIn(session)) return tryLook;
	onNews(t("Your role here has changed. It is now: {role}", { role: roleName(role) }));
	return tryLook;
};
