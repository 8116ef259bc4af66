/**
 * The dialog that lists the keys.
 *
 * @import { Command } from "./commands.js"
 */

import { t } from "../base/language.js";
import { sendsOnEnter } from "../base/preferences.js";
import { element } from "../ui/dom.js";
import { openModal } from "../ui/modal.js";
import { keyNames } from "./keys.js";

/** Keys as they are shown. @param {string} keys */
export const keyboardKeys = (keys) =>
	element("span", { class: "keys" }, ...keyNames(keys).map((name) => element("kbd", {}, name)));

/** @param {string} title @param {readonly { name: string, keys: string }[]} rows */
const section = (title, rows) => {
	const items = rows.map(({ name, keys }) => {
		return element("div", {}, element("dt", {}, name), element("dd", {}, keyboardKeys(keys)));
	});
	return element("section", {}, element("h3", {}, title), element("dl", { class: "shortcuts" }, ...items));
};

/** The keys that the parts of the page handle themselves. */
const inConversation = () => [
	{ name: t("Send the message, or an edited one"), keys: sendsOnEnter() ? "Enter" : "Mod+Enter" },
	{ name: t("Start a new line"), keys: sendsOnEnter() ? "Shift+Enter" : "Enter" },
	{ name: t("Show the first message"), keys: "Mod+Home" },
	{ name: t("Leave an editor, a menu, a dialog or the search"), keys: "Escape" },
];

/** @param {readonly Command[]} commands */
export function openShortcuts(commands) {
	const rows = commands.flatMap(({ name, keys }) => (keys ? [{ name, keys }] : []));
	const sections = [section(t("Everywhere"), rows), section(t("In the conversation"), inConversation())];
	openModal(t("Keyboard shortcuts"), "shortcuts-dialog", ...sections);
}
