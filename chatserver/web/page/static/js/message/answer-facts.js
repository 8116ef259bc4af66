/**
 * When an answer was given, and on demand by whom and what it took. That moves nothing.
 *
 * @import { Message } from "../server/resources.js"
 *
 * @typedef {{ author: string } & Pick<Message, "id" | "createdAt" | "model" | "usage" | "durationMs">} Facts
 */

import { language, plural, t } from "../base/language.js";
import { element } from "../ui/dom.js";
import { timeElement } from "../ui/time.js";

/** @param {number} milliseconds */
function inSeconds(milliseconds) {
	const seconds = Math.max(milliseconds / 1000, 0.1);
	const digits = seconds < 10 ? 1 : 0;
	const format = new Intl.NumberFormat(language(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
	return t("{seconds} s", { seconds: format.format(seconds) });
}

/** @param {Facts} facts */
function textOf({ author, model, usage, durationMs }) {
	const facts = [
		model,
		usage && plural(usage.outputTokens, { one: "{count} token", other: "{count} tokens" }),
		durationMs !== null && inSeconds(durationMs),
	].filter(Boolean);
	// The author alone stands above the answer already.
	return facts.length ? [...new Set([author, ...facts])].join(" · ") : "";
}

/** The element for the foot of a message. @param {Facts} facts */
export function answerFacts(facts) {
	const time = timeElement(facts.createdAt);
	const text = textOf(facts);
	if (!text) return time;
	const id = `facts-${facts.id}`;
	/** @param {boolean} isOpen @returns {void} */
	const show = (isOpen) => button.setAttribute("aria-expanded", `${isOpen}`);
	/** @type {HTMLButtonElement} */
	const button = element(
		"button",
		{
			type: "button",
			class: "facts-button",
			"aria-label": t("Details, {time}", { time: time.textContent }),
			"aria-expanded": false,
			"aria-describedby": id,
			click: () => show(button.ariaExpanded !== "true"),
			blur: () => show(false),
			/** @param {KeyboardEvent} event */
			keydown: ({ key }) => key === "Escape" && show(false),
		},
		time,
	);
	return element("span", { class: "facts" }, button, element("span", { class: "facts-text", id, dir: "auto" }, text));
}
