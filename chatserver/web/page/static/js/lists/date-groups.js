/** What is ordered by time, in groups. */

import { t } from "../base/language.js";
import { monthName } from "../ui/time.js";

const WEEK_DAYS = 7;

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
	return [monthName(when, now), new Date(when.getFullYear(), when.getMonth())];
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
