/**
 * The list of agents that the combo box opens: above it, or from the lower edge of a narrow screen.
 *
 * @import { Agents } from "../company/agents.js"
 *
 * @typedef {ReturnType<typeof createAgentOptions>} AgentOptions
 */

import { fold } from "../base/fold.js";
import { t } from "../base/language.js";
import { button, element, isComposing } from "../ui/dom.js";
import { icon } from "../ui/icons.js";

/** Fewer agents are found by looking. */
const FEWEST_TO_SEARCH = 8;
const MARGIN_PIXELS = 8;
/** Letters that follow each other faster are one word. */
const WORD_MILLISECONDS = 700;

/**
 * @param {HTMLButtonElement} box the combo box
 * @param {Agents} agents
 * @param {object} handlers
 * @param {() => { agentId: string | null, onceId: string | null }} handlers.current
 * @param {(id: string | null, isOnce: boolean) => void} handlers.onChoose
 * @param {(() => void) | null} handlers.onManage null: who is here may not
 */
export const createAgentOptions = (box, agents, { current, onChoose, onManage }) => {
	/** Whether the choice is for the next message only. */
	let isOnce = false;
	/** Of the options that are shown. @type {(string | null)[]} */
	let ids = [];
	let active = 0;
	let word = "";
	let wordAt = -Infinity;

	/** @param {string} label @param {boolean} once */
	const scope = (label, once) => {
		const change = () => setScope(once);
		const input = element("input", { type: "radio", name: "agent-scope", checked: !once, change });
		return { input, label: element("label", { class: "segment" }, input, label) };
	};
	const always = scope(t("From now on"), false);
	const next = scope(t("Only the next message"), true);
	const scopes = element(
		"div",
		{ class: "segments", role: "radiogroup", "aria-label": t("Which messages") },
		always.label,
		next.label,
	);
	const search = element("input", {
		class: "agent-search",
		role: "combobox",
		"aria-label": t("Search agents"),
		placeholder: t("Search agents"),
		"aria-autocomplete": "list",
		"aria-expanded": "true",
		"aria-controls": "agent-options",
		autocomplete: "off",
		spellcheck: "false",
		dir: "auto",
	});
	const list = element("div", { id: "agent-options", role: "listbox", "aria-label": t("Agents"), tabindex: 0 });
	const none = element("p", { class: "agent-none", role: "status" });
	const manage = button(
		t("Manage agents…"),
		() => {
			popup.hidePopover();
			onManage?.();
		},
		"quiet-button",
	);
	const popup = element(
		"div",
		{ id: "agent-popup", class: "agent-popup", role: "dialog", popover: "auto", "aria-label": t("Choose an agent") },
		scopes,
		search,
		list,
		none,
		...(onManage ? [element("div", { class: "agent-foot" }, manage)] : []),
	);

	/** What is marked as chosen. */
	const chosen = () => {
		const { agentId, onceId } = current();
		return isOnce ? (onceId ?? agentId) : agentId;
	};

	/** All that can be chosen: nobody, who stands for the default, first. */
	const choices = () => {
		const { agentId } = current();
		/** @type {(string | null)[]} */
		const all = agents.all().map(([id]) => id);
		if (agentId && !agents.find(agentId)) all.unshift(agentId);
		all.unshift(null);
		return all;
	};

	/** A single message cannot ask for nobody: then the conversation's agent answers it. @param {string | null} id */
	const isOff = (id) => id === null && isOnce && current().agentId !== null;

	/** @param {string | null} id @param {number} index */
	const option = (id, index) => {
		const isChosen = id === chosen();
		const node = element(
			"div",
			{ id: `agent-option-${index}`, class: "agent-option", role: "option", "aria-selected": `${isChosen}` },
			element("span", { class: "agent-name", dir: "auto" }, agents.nameOf(id)),
			" ",
			element("span", { class: "agent-note", dir: "auto" }, isOff(id) ? t("Only from now on") : agents.noteOn(id)),
		);
		if (isOff(id)) node.setAttribute("aria-disabled", "true");
		if (isChosen) node.append(icon("check"));
		return node;
	};

	/** @param {number} index */
	const setActive = (index) => {
		active = Math.max(0, Math.min(index, ids.length - 1));
		[...list.children].forEach((node, at) => node.classList.toggle("active", at === active));
		for (const owner of [search, list]) {
			if (ids.length) owner.setAttribute("aria-activedescendant", `agent-option-${active}`);
			else owner.removeAttribute("aria-activedescendant");
		}
		list.children[active]?.scrollIntoView({ block: "nearest" });
	};

	const show = () => {
		const wanted = fold(search.value.trim());
		ids = choices().filter((id) => fold(`${agents.nameOf(id)} ${agents.noteOn(id)}`).includes(wanted));
		list.replaceChildren(...ids.map(option));
		list.hidden = !ids.length;
		none.hidden = ids.length > 0;
		none.textContent = ids.length ? "" : t("No agent is called that.");
	};

	/** @param {boolean} once */
	const setScope = (once) => {
		isOnce = once;
		always.input.checked = !once;
		next.input.checked = once;
		show();
		setActive(ids.indexOf(chosen()));
	};

	/** @param {number} index */
	const choose = (index) => {
		if (index < 0 || index >= ids.length) return;
		const id = ids[index];
		if (isOff(id)) return;
		popup.hidePopover();
		box.focus();
		onChoose(id, isOnce);
	};

	/** Goes to the next agent whose name begins with what is typed. @param {string} letter */
	const typeAhead = (letter) => {
		const isNew = performance.now() - wordAt > WORD_MILLISECONDS;
		word = isNew ? fold(letter) : word + fold(letter);
		wordAt = performance.now();
		const from = isNew ? active + 1 : active;
		const order = ids.map((_, offset) => (from + offset) % ids.length);
		const found = order.find((index) => fold(agents.nameOf(ids[index])).startsWith(word));
		if (found !== undefined) setActive(found);
	};

	/** @param {KeyboardEvent} event */
	const onKey = (event) => {
		if (isComposing(event) || event.ctrlKey || event.metaKey) return;
		const { key } = event;
		const inSearch = event.target === search;
		const to = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + 8, PageUp: active - 8 }[key];
		if (to !== undefined) setActive(event.altKey && key === "ArrowUp" ? active : to);
		else if (!inSearch && key === "Home") setActive(0);
		else if (!inSearch && key === "End") setActive(ids.length - 1);
		else if (key === "Enter" || (key === " " && !inSearch)) choose(active);
		else if (!inSearch && key.length === 1) typeAhead(key);
		else return;
		event.preventDefault();
	};

	const place = () => {
		const near = box.getBoundingClientRect();
		const isRtl = getComputedStyle(box).direction === "rtl";
		const start = isRtl ? innerWidth - near.right : near.left;
		popup.style.setProperty("--start", `${Math.max(start, MARGIN_PIXELS)}px`);
		popup.style.setProperty("--bottom", `${innerHeight - near.top + MARGIN_PIXELS}px`);
	};

	search.addEventListener("input", () => {
		show();
		setActive(search.value ? 0 : ids.indexOf(chosen()));
	});
	search.addEventListener("keydown", onKey);
	list.addEventListener("keydown", onKey);
	/** @param {Event} event */
	const indexOf = ({ target }) => {
		const node = target instanceof Element ? target.closest("[role=option]") : null;
		return node ? [...list.children].indexOf(node) : -1;
	};
	list.addEventListener("pointermove", (event) => {
		const index = indexOf(event);
		if (event.pointerType === "mouse" && index >= 0 && index !== active) setActive(index);
	});
	list.addEventListener("click", (event) => choose(indexOf(event)));
	popup.addEventListener("toggle", (event) => {
		const isOpen = /** @type {ToggleEvent} */ (event).newState === "open";
		box.setAttribute("aria-expanded", `${isOpen}`);
	});
	popup.addEventListener("focusout", ({ relatedTarget }) => {
		if (relatedTarget instanceof Node && !popup.contains(relatedTarget)) popup.hidePopover();
	});
	addEventListener("resize", () => popup.matches(":popover-open") && place());
	box.setAttribute("aria-controls", popup.id);
	(box.closest("main") ?? document.body).append(popup); // In the same landmark as the box.

	return {
		/** @param {string} [typed] the letter by which it was opened */
		open(typed = "") {
			const { onceId } = current();
			search.value = word = "";
			wordAt = -Infinity;
			search.hidden = choices().length < FEWEST_TO_SEARCH;
			place();
			popup.showPopover();
			setScope(onceId !== null);
			// On a touch screen the focus in a text box would bring up the keyboard.
			const canType = !search.hidden && matchMedia("(hover: hover)").matches;
			(canType ? search : list).focus();
			if (!typed) return;
			if (canType) {
				search.value = typed;
				search.dispatchEvent(new Event("input"));
			} else typeAhead(typed);
		},
		/** Agents have changed. */
		refresh() {
			if (!popup.matches(":popover-open")) return;
			const id = ids[active];
			show();
			setActive(Math.max(ids.indexOf(id), 0));
		},
		isOpen: () => popup.matches(":popover-open"),
		close: () => popup.hidePopover(),
	};
};
