/** The dialog of what a person chooses for this page in this browser. Everything counts at once, in all tabs. */

import { isAllowed, isSupported, ask } from "../base/notifications.js";
import { t } from "../base/language.js";
import {
	sendsOnEnter,
	setSendsOnEnter,
	setWantsNotifications,
	wantsNotifications,
} from "../base/preferences.js";
import { button, element } from "../ui/dom.js";
import { openModal } from "../ui/modal.js";

/** @typedef {readonly (readonly [value: string, name: string])[]} Choices */

/**
 * A few choices side by side.
 *
 * @param {string} title
 * @param {Choices} choices
 * @param {string} current
 * @param {(value: string) => void} onChange
 */
const segments = (title, choices, current, onChange) => {
	const name = `setting ${title}`;
	const options = choices.map(([value, label]) => {
		const change = () => onChange(value);
		const input = element("input", { type: "radio", name, value, checked: value === current, change });
		return element("label", { class: "segment" }, input, label);
	});
	return element(
		"div",
		{ class: "setting", role: "radiogroup", "aria-label": title },
		element("span", { "aria-hidden": "true" }, title),
		element("div", { class: "segments" }, ...options),
	);
};

/** @param {string} name @param {string} value */
const setLook = (name, value) => {
	look.set(/** @type {"theme" | "size"} */ (name), value);
};

const theme = () =>
	segments(
		t("Theme"),
		[
			["", t("System")],
			["light", t("Light")],
			["dark", t("Dark")],
		],
		look.get("theme"),
		(value) => setLook("theme", value),
	);

const textSize = () =>
	segments(
		t("Text size"),
		[
			["small", t("Small")],
			["", t("Normal")],
			["large", t("Large")],
			["largest", t("Largest")],
		],
		look.get("size"),
		(value) => setLook("size", value),
	);

/** @param {string} mod the name of the key that changes what Enter does */
const sendKey = (mod) =>
	segments(
		t("Send with"),
		[
			["enter", t("Enter")],
			["mod", t("{key}+Enter", { key: mod })],
		],
		sendsOnEnter() ? "enter" : "mod",
		(value) => setSendsOnEnter(value === "enter"),
	);

/** @param {() => void} onLanguage the page has to be loaded again */
const languageSetting = (onLanguage) => {
	const select = element("select", {
		id: "setting-language",
		change: () => look.set("language", select.value) && onLanguage(),
	});
	select.append(element("option", { value: "" }, t("The browser’s")));
	for (const [tag, { name, dir }] of Object.entries(look.languages)) {
		select.append(element("option", { value: tag, lang: tag, dir }, name));
	}
	select.value = look.get("language");
	return element("div", { class: "setting" }, element("label", { for: select.id }, t("Language")), select);
};

const notifications = () => {
	const note = element("p", { class: "setting-note", id: "setting-note" });
	const input = element("input", {
		id: "setting-notifications",
		type: "checkbox",
		role: "switch",
		"aria-describedby": note.id,
		async change() {
			const isWanted = input.checked && (isAllowed() || (await ask()));
			setWantsNotifications(isWanted);
			show();
		},
	});
	const show = () => {
		const isDenied = isSupported() && Notification.permission === "denied";
		input.checked = isAllowed() && wantsNotifications();
		input.disabled = !isSupported() || isDenied;
		note.textContent = t("Tells you of an answer that is finished while you do not see this page.");
		if (!isSupported()) note.textContent = t("This browser offers notifications over HTTPS only, or not at all.");
		if (isDenied) note.textContent = t("The browser does not let this page show notifications.");
	};
	show();
	const label = element("label", { for: input.id }, t("Notifications"));
	return element("div", { class: "setting" }, label, input, note);
};

/**
 * @param {object} context
 * @param {string} context.mod the name of the key Ctrl, or ⌘
 * @param {() => void} context.onLanguage
 * @param {() => void} context.onShortcuts
 */
export function openSettings({ mod, onLanguage, onShortcuts }) {
	const toShortcuts = () => {
		dialog.close();
		onShortcuts();
	};
	const dialog = openModal(
		t("Settings"),
		"settings",
		theme(),
		textSize(),
		languageSetting(onLanguage),
		sendKey(mod),
		notifications(),
		element("div", { class: "row" }, button(t("Keyboard shortcuts"), toShortcuts, "quiet-button")),
	);
	dialog.querySelector("input")?.focus();
}
