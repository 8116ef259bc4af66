/**
 * The page's texts in its reader's language. An English text is the key of its translations, so that code reads as the
 * page does.
 *
 * @typedef {Record<string, string | Partial<Record<Intl.LDMLPluralRule, string>>>} Catalogue Texts by their English
 *   ones. A text that depends on a count has one form for each plural category of the language.
 */

/** @type {Catalogue} */
const catalogue = {};
const tag = "en";

/** The BCP 47 tag of the page's language, for `Intl`. */
export const language = () => tag;

/** @param {string} text @param {Record<string, string | number>} values */
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));

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
	const category = new Intl.PluralRules(tag).select(count);
	const known = typeof found === "object" ? found : tag === "en" ? forms : {};
	const text = /** @type {Record<string, string>} */ (known)[category] ?? forms.other;
	return fill(text, { count: new Intl.NumberFormat(tag).format(count), ...values });
}
