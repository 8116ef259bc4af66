/**
 * The way into the page: who is here, and which company is shown; or a sign-in instead.
 *
 * @import { BrowserTabs } from "../base/browser-tabs.js"
 * @import { ApiClient } from "../server/api.js"
 *
 * @typedef {{ api: ApiClient, tabs: BrowserTabs, session: Api.Session, companyId: string }} Here
 *
 * @typedef {object} OpenPage
 * @property {(text: string) => void} warn
 * @property {() => void} leave gives the texts of editors to the drafts, and ends what the page reads
 */

import { createBrowserTabs } from "../base/browser-tabs.js";
import { parseAddress } from "../base/router.js";
import { recall } from "../base/storage.js";
import { ApiError, createApi } from "../server/api.js";
import { describe, problem } from "../ui/feedback.js";
import { switchCompany } from "./account.js";
import { claimStorage, personOf } from "./person.js";
import { watchSession } from "./session-watch.js";
import { createSignIn } from "./sign-in.js";

/**
 * The company of the conversation that is opened, or else the one that was shown last.
 *
 * @param {ApiClient} api
 * @param {string[]} ids
 */
async function chooseCompany(api, ids) {
	const last = ids.includes(recall("company")) ? recall("company") : ids[0];
	const conversationId = parseAddress(location)?.conversationId;
	if (ids.length < 2 || !conversationId) return last;
	const companyId = await api.getConversation(conversationId).then(({ companyId }) => companyId, () => last);
	if (companyId === last || !ids.includes(companyId)) return last;
	switchCompany(last, companyId);
	return companyId;
}

/** @param {(here: Here) => OpenPage} openPage @param {(alert: HTMLElement) => void} showProblem */
export async function enter(openPage, showProblem) {
	const tabs = createBrowserTabs();
	const signIn = createSignIn(() => api, tabs);
	/** Who is here; null: it is not known yet. @type {Api.Session | null} */
	let session = null;
	let leave = () => {};
	let lookAgain = () => {};

	/** @param {unknown} error */
	const problemOf = (error) => problem(describe(error), () => location.reload());

	const askToSignIn = async (/** @type {string | null} */ name = null) => {
		leave();
		// Only a proxy before the server refuses to say who is here.
		const mode = session?.mode ?? "proxy";
		const view = signIn({ mode, name, hasEnded: name === null && Boolean(session?.actor) });
		await view.catch((error) => document.body.append(problemOf(error)));
	};
	const onSignedOut = () => void askToSignIn();
	const api = createApi({ onSignedOut, onForbidden: () => lookAgain() });
	try {
		session = await api.session();
		const ids = session.companies.map(({ id }) => id);
		if (!session.actor || !ids.length) return await askToSignIn(session.actor?.name);
		const person = personOf(session);
		claimStorage(person);
		if (person) tabs.tell({ kind: "person", person });
		const companyId = await chooseCompany(api, ids);
		const page = openPage({ api, tabs, session, companyId });
		leave = page.leave;
		lookAgain = watchSession(api, tabs, session, companyId, { onLeave: leave, onSignedOut, onNews: page.warn });
	} catch (error) {
		// Whoever is not signed in is asked to.
		if (!(error instanceof ApiError && error.status === 401)) showProblem(problemOf(error));
	}
}
