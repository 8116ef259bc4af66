/** Times in the reader's own language and time zone. */

import { element } from "./dom.js";

/** @param {Intl.DateTimeFormatOptions} options */
const format = (options) => new Intl.DateTimeFormat(undefined, options);
const CLOCK = format({ timeStyle: "short" });
const SAME_YEAR = format({ day: "numeric", month: "short", hour: "numeric", minute: "2-digit" });
const ANY = format({ dateStyle: "medium", timeStyle: "short" });
const FULL = format({ dateStyle: "full", timeStyle: "medium" });

/** The time of day, with the date if it is not today. @param {string} time RFC 3339 */
export function shortTime(time, now = new Date()) {
	const when = new Date(time);
	if (when.toDateString() === now.toDateString()) return CLOCK.format(when);
	return (when.getFullYear() === now.getFullYear() ? SAME_YEAR : ANY).format(when);
}

/** @param {string} time RFC 3339 */
export function fullTime(time) {
	return FULL.format(new Date(time));
}

/** @param {string} time RFC 3339 */
export function timeElement(time) {
	return element("time", { datetime: time, title: fullTime(time) }, shortTime(time));
}
