/** What nobody needs at first is fetched later: so the page is there sooner. */

import { ApiError } from "../server/api.js";
import { element } from "./dom.js";

/** The looks of all of it. @type {Promise<unknown> | null} */
let styles = null;

const loadStyles = () =>
	(styles ??= new Promise((load, error) => {
		document.head.append(element("link", { rel: "stylesheet", href: "/static/css/on-demand.css", load, error }));
	}).catch((error) => {
		styles = null;
		throw error;
	}));

/** What is asked for again is fetched again: browsers do not keep that it failed. @param {unknown} error */
const failed = (error) => {
	throw error instanceof SyntaxError ? error : new ApiError("A part of this page could not be loaded");
};

/** @template T @param {() => Promise<T>} load @returns {() => Promise<T>} */
const later = (load) => () => Promise.all([load(), loadStyles()]).then(([module]) => module, failed);

export const loadAccount = later(() => import("../account/account-controls.js"));
export const loadMenu = later(() => import("../lists/conversation-menu.js"));
export const loadDialogs = later(() => import("./dialogs.js"));
export const loadEditor = later(() => import("../message/message-editor.js"));
export const loadFollower = later(() => import("../stream/answer-follower.js"));
export const loadResultList = later(() => import("../lists/result-list.js"));

/** At a person's first sign of life, so that nothing that they type into an editor gets lost on the way. */
export function loadAllOnFirstInput() {
	const all = [loadMenu, loadDialogs, loadEditor, loadFollower, loadResultList];
	const load = () => all.map((one) => one().catch(() => {}));
	for (const sign of ["pointermove", "pointerdown", "keydown"]) addEventListener(sign, load, { once: true });
}
