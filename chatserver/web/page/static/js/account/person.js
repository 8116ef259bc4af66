/**
 * Whose the browser's storage is. Drafts and unsent messages stay for the person who wrote them, also if their session
 * ends, and are forgotten once somebody else is here.
 *
 * @import { BrowserTabs } from "../base/browser-tabs.js"
 */

import { forAll, forget, forThisTab, recall, remember } from "../base/storage.js";

const PERSON = "person";

/** The person as it is stored; "": nobody is signed in. @param {Api.Session} session */
export const personOf = ({ mode, actor, companies }) =>
	mode === "local_trusted" || !actor ? "" : JSON.stringify([actor.name, ...companies.map(({ id }) => id)]);

/**
 * Whether it is the same person: people of different companies may have the same name.
 *
 * @param {string} before
 * @param {string} now
 */
export function isSamePerson(before, now) {
	if (!before || !now) return before === now;
	try {
		const [[name, ...companies], [nameNow, ...companiesNow]] = [JSON.parse(before), JSON.parse(now)];
		return name === nameNow && companies.some((/** @type {string} */ id) => companiesNow.includes(id));
	} catch {
		return false; // Another program wrote there.
	}
}

/** From now on the storage is this person's; what another one left is forgotten. @param {string} person */
export function claimStorage(person) {
	for (const where of [forAll, forThisTab]) {
		if (!isSamePerson(recall(PERSON, where), person)) forget(where);
		remember(PERSON, person, where);
	}
}

/**
 * Calls `onOther` when another tab has signed out, or somebody else has signed in there.
 *
 * @param {BrowserTabs} tabs
 * @param {string} person who is here
 * @param {(other: string) => void} onOther
 */
export function watchPerson(tabs, person, onOther) {
	/** @param {string} other */
	const compare = (other) => isSamePerson(other, person) || onOther(other);
	tabs.listen((news) => news.kind === "person" && compare(news.person));
	// A tab that the browser had frozen, or kept for the way back, heard of nothing.
	const look = () => document.hidden || compare(recall(PERSON));
	document.addEventListener("visibilitychange", look);
	addEventListener("pageshow", look);
}
