/**
 * The page's texts in its reader's language. An English text is the key of its translations, so that code reads as the
 * page does. `look.js` decides which language that is.
 *
 * Modules call `t` and `plural` only from functions: the translations are loaded after the modules are.
 *
 * @typedef {Record<string, string | Partial<Record<Intl.LDMLPluralRule, string>>>} Catalogue Texts by their English
 *   ones. A text that depends on a count has one form for each plural category of the language.
 */

/** @type {Catalogue} */
let catalogue = {};

/** The BCP 47 tag of the page's language, for `Intl`. */
export const language = () => document.documentElement.lang;

export const isEnglish = () => /^en\b/.test(language());

/** @param {number} number */
export const formatNumber = (number) => new Intl.NumberFormat(language()).format(number);

/** @param {string} text @param {Record<string, string | number>} values */
const fill = (text, values) =>
	text.replace(/\{(\w+)\}/g, (whole, name) => {
		const value = values[name] ?? whole;
		return typeof value === "number" ? formatNumber(value) : value;
	});

/**
 * Returns a text in the page's language.
 *
 * @param {string} text in English, with `{name}` where a value belongs
 * @param {Record<string, string | number>} [values]
 */
export function t(text, values = {}) {
	const found = catalogue[text];
	return fill(typeof found === "string" ? found : text, values);
}

/**
 * Returns a text about so many things, with the count in place of `{count}`.
 *
 * @param {number} count
 * @param {{ one: string, other: string }} forms in English; `other` is the key of the translations
 * @param {Record<string, string | number>} [values]
 */
export function plural(count, forms, values = {}) {
	const found = catalogue[forms.other];
	const isKnown = typeof found === "object";
	/** @type {Partial<Record<Intl.LDMLPluralRule, string>>} */
	const known = isKnown ? found : forms;
	const category = new Intl.PluralRules(isKnown ? language() : "en").select(count);
	return fill(known[category] ?? known.other ?? forms.other, { count, ...values });
}

/** Translates the texts that are written in `index.html`. */
function translatePage() {
	const translated = (/** @type {Node} */ { parentElement }) => !parentElement?.closest("script, [translate=no]");
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let node = texts.nextNode(); node; node = texts.nextNode()) {
		const text = node.nodeValue?.trim();
		if (text && translated(node)) node.nodeValue = /** @type {string} */ (node.nodeValue).replace(text, () => t(text));
	}
	for (const name of ["aria-label", "placeholder", "title"]) {
		for (const node of document.body.querySelectorAll(`[${name}]`)) {
			node.setAttribute(name, t(/** @type {string} */ (node.getAttribute(name))));
		}
	}
}

/** Loads the page's language, and translates what the page shows already. Without the texts it stays English. */
export async function loadLanguage() {
	if (look.catalogue === null) return;
	try {
		catalogue = (await import(look.catalogue)).default;
		translatePage();
	} catch {
		look.speakEnglish();
	}
	delete document.documentElement.dataset.untranslated;
}
