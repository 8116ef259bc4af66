/** Times, days and months in the page's language and the reader's time zone. */

import { language } from "../base/language.js";
import { element } from "./dom.js";

/** @type {Record<string, Intl.DateTimeFormatOptions>} */
const STYLES = {
	clock: { timeStyle: "short" },
	sameYear: { day: "numeric", month: "short", hour: "numeric", minute: "2-digit" },
	any: { dateStyle: "medium", timeStyle: "short" },
	full: { dateStyle: "full", timeStyle: "medium" },
	dayOfYear: { day: "numeric", month: "short" },
	day: { dateStyle: "medium" },
	month: { month: "long" },
	monthOfYear: { month: "long", year: "numeric" },
};
/** Making a format takes longer than using it. @type {Partial<Record<string, Intl.DateTimeFormat>>} */
const formats = {};

/** @param {keyof typeof STYLES} style @param {Date} when */
const format = (style, when) => {
	formats[style] ??= new Intl.DateTimeFormat(language(), STYLES[style]);
	return formats[style].format(when);
};

/** @param {Date} when @param {Date} now @param {string} thisYear the style in this year @param {string} otherwise */
const byYear = (when, now, thisYear, otherwise) =>
	format(when.getFullYear() === now.getFullYear() ? thisYear : otherwise, when);

/** The time of day if it is today, else as `byYear`. @param {string} thisYear @param {string} otherwise */
const byDay =
	(thisYear, otherwise) =>
	(/** @type {string} RFC 3339 */ time, now = new Date()) => {
		const when = new Date(time);
		const isToday = when.toDateString() === now.toDateString();
		return isToday ? format("clock", when) : byYear(when, now, thisYear, otherwise);
	};

/** The time of day, with the date if it is not today. */
export const shortTime = byDay("sameYear", "any");

/** The day, or the time if it is today. */
export const shortDay = byDay("dayOfYear", "day");

/** The month, with the year if it is not this one. @param {Date} when @param {Date} now */
export const monthName = (when, now) => byYear(when, now, "month", "monthOfYear");

/** @param {string} time RFC 3339 */
export function fullTime(time) {
	return format("full", new Date(time));
}

/** @param {string} time RFC 3339 */
export function timeElement(time) {
	return element("time", { datetime: time, title: fullTime(time) }, shortTime(time));
}
