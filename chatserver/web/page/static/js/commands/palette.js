/**
 * The palette: conversations, agents and actions, found by typing.
 *
 * @import { Command } from "./commands.js"
 *
 * @typedef {object} Entry
 * @property {string} name
 * @property {string} [note]
 * @property {string} [keys]
 * @property {() => void} run
 *
 * @typedef {{ title: string, entries: Entry[] }} Group
 */

import { fold } from "../base/fold.js";
import { plural, t } from "../base/language.js";
import { isAbort } from "../server/api.js";
import { element, isComposing } from "../ui/dom.js";
import { describe } from "../ui/feedback.js";
import { closeOnPressBeside } from "../ui/modal.js";
import { keysOf } from "./keys.js";
import { keyboardKeys } from "./shortcuts-dialog.js";

/** A search begins when a person has stopped typing for this long. */
const PAUSE_MILLISECONDS = 150;
const PAGE_ROWS = 8;

/** @param {string} query @returns {(entry: Entry) => boolean} whether the entry has all words */
const matching = (query) => {
	const words = fold(query).split(/\s+/);
	return ({ name, note = "" }) => words.every((word) => fold(`${name} ${note}`).includes(word));
};

/**
 * @param {object} sources
 * @param {() => readonly Command[]} sources.commands
 * @param {() => readonly Entry[]} sources.agents
 * @param {(query: string, signal: AbortSignal) => Promise<Entry[]>} sources.conversations "": the last ones
 */
export function openPalette({ commands, agents, conversations }) {
	/** The conversations that were found last. @type {Entry[]} */
	let found = [];
	/** What is listed. @type {Entry[]} */
	let entries = [];
	let active = 0;
	let timer = 0;
	let isSearching = true;
	let abort = new AbortController();

	const input = element("input", {
		role: "combobox",
		"aria-label": t("Search conversations, agents and actions"),
		placeholder: t("Conversation, agent or action"),
		"aria-autocomplete": "list",
		"aria-expanded": "true",
		"aria-controls": "palette-list",
		autocomplete: "off",
		spellcheck: "false",
		maxlength: 200,
		dir: "auto",
	});
	const list = element("div", { id: "palette-list", role: "listbox", "aria-label": t("Found") });
	const status = element("p", { class: "palette-status", role: "status" });
	const dialog = element("dialog", { class: "palette", "aria-label": t("Go to") }, input, list, status);

	const options = () => /** @type {HTMLElement[]} */ ([...list.querySelectorAll("[role=option]")]);

	/** @param {number} index */
	const setActive = (index) => {
		active = entries.length ? (index + entries.length) % entries.length : 0;
		options().forEach((node, at) => node.setAttribute("aria-selected", `${at === active}`));
		if (entries.length) input.setAttribute("aria-activedescendant", `palette-${active}`);
		else input.removeAttribute("aria-activedescendant");
		options()[active]?.scrollIntoView({ block: "nearest" });
	};

	/** @param {Entry} entry @param {number} index */
	const option = ({ name, note, keys }, index) => {
		const row = element("div", { role: "option", id: `palette-${index}`, class: "palette-row" });
		row.append(element("span", { class: "palette-name" }, element("bdi", {}, name)));
		if (note) row.append(" ", element("span", { class: "palette-note" }, element("bdi", {}, note)));
		if (keys) row.append(" ", keyboardKeys(keys));
		return row;
	};

	const show = () => {
		const query = input.value.trim();
		const has = matching(query);
		/** @type {Group[]} */
		const groups = [
			{ title: t("Conversations"), entries: found },
			{ title: t("Actions"), entries: commands().filter(has) },
			{ title: t("Agents"), entries: agents().filter(has) },
		];
		entries = [];
		list.replaceChildren();
		for (const [at, group] of groups.entries()) {
			if (!group.entries.length) continue;
			const title = element("div", { id: `palette-group-${at}`, class: "palette-group" }, group.title);
			const box = element("div", { role: "group", "aria-labelledby": title.id }, title);
			box.append(...group.entries.map((entry, index) => option(entry, entries.length + index)));
			entries.push(...group.entries);
			list.append(box);
		}
		list.hidden = entries.length === 0;
		const isEmpty = !isSearching && entries.length === 0;
		status.textContent = isEmpty ? t("Nothing has this name.") : "";
		if (!isSearching && query && entries.length) {
			status.textContent = plural(entries.length, { one: "{count} entry", other: "{count} entries" });
		}
		status.classList.toggle("visually-hidden", !isEmpty);
	};

	const search = async () => {
		abort.abort();
		abort = new AbortController();
		const { signal } = abort;
		try {
			const news = await conversations(input.value.trim(), signal);
			if (signal.aborted) return;
			const before = entries[active];
			found = news;
			isSearching = false;
			show();
			// What is marked stays marked once somebody has moved to it.
			const again = entries.findIndex(({ name, note }) => name === before?.name && note === before?.note);
			setActive(active ? Math.max(again, 0) : 0);
		} catch (error) {
			if (isAbort(error) || signal.aborted) return;
			found = [];
			isSearching = false;
			show();
			status.textContent = describe(error);
			status.classList.remove("visually-hidden");
		}
	};

	/** @param {number} index */
	const choose = (index) => {
		const entry = entries[index];
		if (!entry) return;
		dialog.close(); // First: the focus returns to where it was, and the entry may move it.
		entry.run();
	};

	input.addEventListener("input", () => {
		clearTimeout(timer);
		abort.abort();
		isSearching = true;
		// Those that cannot match any more are not shown until others are found.
		found = found.filter(matching(input.value));
		show();
		setActive(0);
		timer = setTimeout(search, PAUSE_MILLISECONDS);
	});
	dialog.addEventListener("keydown", (event) => {
		if (isComposing(event)) return;
		const to = {
			ArrowDown: active + 1,
			ArrowUp: active - 1,
			PageDown: Math.min(active + PAGE_ROWS, entries.length - 1),
			PageUp: Math.max(active - PAGE_ROWS, 0),
		}[event.key];
		if (to !== undefined) setActive(to);
		else if (event.key === "Enter") choose(active);
		else if (keysOf(event) === "Mod+K") dialog.close();
		else return;
		event.preventDefault();
	});
	/** @param {Event} event */
	const indexOf = ({ target }) => {
		const row = target instanceof Element ? target.closest("[role=option]") : null;
		return row ? options().indexOf(/** @type {HTMLElement} */ (row)) : -1;
	};
	list.addEventListener("pointermove", (event) => {
		const index = indexOf(event);
		if (event.pointerType === "mouse" && index >= 0 && index !== active) setActive(index);
	});
	// The focus stays in the text box.
	list.addEventListener("pointerdown", (event) => event.preventDefault());
	list.addEventListener("click", (event) => choose(indexOf(event)));
	dialog.addEventListener("close", () => {
		clearTimeout(timer);
		abort.abort();
		dialog.remove();
	});
	closeOnPressBeside(dialog);
	document.body.append(dialog);
	dialog.showModal();
	show();
	setActive(0);
	void search();
}
