/** Loads modules, and their styles, when they are needed first. So the page itself is there sooner. */

import { t } from "../base/language.js";
import { ApiError } from "../server/api.js";
import { element } from "./dom.js";

/** @type {(() => Promise<unknown>)[]} */
const all = [];
const SHEETS = ["on-demand", "agent-options", "agents-dialog", "frame", "account"];
/** Of all these modules. @type {Promise<unknown> | null} */
let styles = null;

/** @param {string} name */
const loadSheet = (name) =>
	new Promise((load, error) => {
		const href = import.meta.resolve(`../../css/${name}.css`);
		document.head.append(element("link", { rel: "stylesheet", href, load, error }));
	});

const loadStyles = () =>
	(styles ??= Promise.all(SHEETS.map(loadSheet)).catch((error) => {
		styles = null;
		throw error;
	}));

/** Browsers do not keep a failure: the next call fetches the module again. @param {unknown} error @returns {never} */
const fail = (error) => {
	throw error instanceof SyntaxError ? error : new ApiError(t("A part of this page could not be loaded"));
};

/**
 * @template T
 * @param {() => Promise<T>} importModule
 * @returns {() => Promise<T>} imports the module once its styles are there; fails with what people may read
 */
export function onDemand(importModule) {
	const load = () => Promise.all([importModule(), loadStyles()]).then(([module]) => module, fail);
	all.push(load);
	return load;
}

/** Loads everything at a person's first input, so that nothing that they type into an editor is lost meanwhile. */
export function loadAllOnFirstInput() {
	const loadAll = () => all.forEach((load) => load().catch(() => {}));
	for (const input of ["pointermove", "pointerdown", "keydown"]) addEventListener(input, loadAll, { once: true });
}
