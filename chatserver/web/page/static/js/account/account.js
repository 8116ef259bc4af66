/**
 * Who is signed in, at the foot of the sidebar, with a menu: another company, signing out.
 *
 * @import { BrowserTabs } from "../base/browser-tabs.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { Me } from "./me.js"
 */

import { t } from "../base/language.js";
import { drafts, forAll, forget, forThisTab, recall, remember } from "../base/storage.js";
import { ApiError } from "../server/api.js";
import { element } from "../ui/dom.js";
import { icon } from "../ui/icons.js";
import { onDemand } from "../ui/on-demand.js";
import { companyName, roleName } from "./names.js";
import { clearPage } from "./sign-in.js";

const LOOK = /** @type {const} */ (["theme", "size", "language"]);

const loadMenu = onDemand(() => import("./account-menu.js"));

/** From the next load on the page is that of another company. @param {string} from @param {string} to */
export function switchCompany(from, to) {
	remember("company", to);
	// The draft of a new conversation belongs to the company.
	remember(`draft ${from}`, drafts.get(null), forThisTab);
	drafts.set(null, recall(`draft ${to}`, forThisTab));
}

/**
 * @param {HTMLElement} place
 * @param {object} context
 * @param {ApiClient} context.api
 * @param {BrowserTabs} context.tabs
 * @param {Api.Session} context.session
 * @param {string} context.companyId shown now
 * @param {Me} context.me
 * @param {(error: unknown) => void} onError
 */
export const createAccount = (place, { api, tabs, session, companyId, me }, onError) => {
	const companies = [...session.companies].sort((one, other) => companyName(one).localeCompare(companyName(other)));
	const shown = companies.find(({ id }) => id === companyId);
	const canSignOut = session.mode === "authenticated";
	const hasMenu = canSignOut || companies.length > 1;

	/** @param {boolean} everywhere */
	const signOut = async (everywhere) => {
		// The look is the browser's and stays, although the server has the browser clear what it stored.
		const chosen = LOOK.map((name) => /** @type {const} */ ([name, look.get(name)]));
		await api.signOut(everywhere).catch((error) => {
			if (!(error instanceof ApiError && error.status === 401)) throw error;
		});
		api.end();
		clearPage();
		// The next person at this browser must not find, or even send, unsent text.
		forget(forAll);
		forget(forThisTab);
		for (const [name, value] of chosen) if (value) look.set(name, value);
		tabs.tell({ kind: "person", person: "" });
		location.replace("/");
	};

	/** @param {boolean} everywhere */
	const trySignOut = (everywhere) => void signOut(everywhere).catch(onError);

	const open = async () => {
		const { openAccountMenu } = await loadMenu();
		openAccountMenu(/** @type {HTMLElement} */ (line), {
			companies,
			companyId,
			onCompany(id) {
				switchCompany(companyId, id);
				location.assign("/");
			},
			onSignOut: canSignOut ? trySignOut : null,
		});
	};

	const notes = [
		shown && (shown.name || companies.length > 1) ? companyName(shown) : "",
		me.canWrite ? "" : roleName(me.role),
	].filter(Boolean);
	const parts = notes.flatMap((note) => [" · ", element("bdi", {}, note)]).slice(1);
	const text = element("span", { class: "account-text" });
	if (me.name !== null) text.append(element("bdi", { class: "account-name" }, me.name));
	if (parts.length) text.append(" ", element("span", { class: "account-note" }, ...parts));
	const attributes = { class: "account", type: "button", "aria-haspopup": "menu", "aria-expanded": false };
	const click = () => void open().catch(onError);
	const line = hasMenu
		? element("button", { ...attributes, title: t("Account"), click }, text, icon("more"))
		: element("p", { class: "account", title: t("Account") }, text);
	place.replaceChildren(line);
	place.hidden = me.name === null && companies.length < 2;

	return {
		/** What the palette offers. */
		commands: () => (canSignOut ? [{ name: t("Sign out"), run: () => trySignOut(false) }] : []),
	};
};
