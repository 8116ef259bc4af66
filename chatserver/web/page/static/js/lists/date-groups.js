/** Days and months in the reader's language and time zone. */

import { language, t } from "../base/language.js";

const WEEK_DAYS = 7;

/** @param {Intl.DateTimeFormatOptions} options */
const format = (options) => new Intl.DateTimeFormat(language(), options);
const CLOCK = format({ timeStyle: "short" });
const SAME_YEAR = format({ day: "numeric", month: "short" });
const ANY = format({ dateStyle: "medium" });
const MONTH = format({ month: "long" });
const MONTH_OF_YEAR = format({ month: "long", year: "numeric" });

/** The day, or the time if it is today. @param {string} time RFC 3339 */
export function shortDay(time, now = new Date()) {
	const when = new Date(time);
	if (when.toDateString() === now.toDateString()) return CLOCK.format(when);
	return (when.getFullYear() === now.getFullYear() ? SAME_YEAR : ANY).format(when);
}

/**
 * The group of a time: its name, and when the group begins.
 *
 * @param {Date} when
 * @param {Date} now
 * @returns {[name: string, start: Date]}
 */
function groupOf(when, now) {
	const [year, month, day] = [now.getFullYear(), now.getMonth(), now.getDate()];
	/** @type {[string, Date][]} */
	const recent = [
		[t("Today"), new Date(year, month, day)],
		[t("Yesterday"), new Date(year, month, day - 1)],
		[t("Last 7 days"), new Date(year, month, day - WEEK_DAYS)],
	];
	const found = recent.find(([, start]) => when >= start);
	if (found) return found;
	const name = (when.getFullYear() === year ? MONTH : MONTH_OF_YEAR).format(when);
	return [name, new Date(when.getFullYear(), when.getMonth())];
}

/**
 * Parts what is ordered from new to old into today, yesterday, the week before, and months.
 *
 * @template T
 * @param {readonly T[]} items
 * @param {(item: T) => string} timeOf RFC 3339, in UTC with milliseconds
 * @returns {{ name: string, items: T[] }[]}
 */
export function groupByDate(items, timeOf, now = new Date()) {
	/** @type {{ name: string, items: T[] }[]} */
	const groups = [];
	let start = "";
	for (const item of items) {
		const time = timeOf(item);
		// Times of this form are ordered like their texts, which costs less than reading each of thousands.
		if (!groups.length || time < start) {
			const [name, from] = groupOf(new Date(time), now);
			start = from.toISOString();
			groups.push({ name, items: [] });
		}
		groups.at(-1)?.items.push(item);
	}
	return groups;
}
