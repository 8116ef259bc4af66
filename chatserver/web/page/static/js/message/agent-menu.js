/**
 * The menu of the agents that can answer instead.
 *
 * @typedef {{ nameOf(id: string | null): string, noteOn(id: string | null): string }} AgentNames
 */

import { t } from "../base/language.js";
import { element } from "../ui/dom.js";

const MARGIN_PIXELS = 8;

/**
 * Opens the menu beside a button.
 *
 * @param {HTMLElement} opener
 * @param {AgentNames} agents
 * @param {{ ids: readonly (string | null)[], isOnce: boolean }} choice null: the default; `isOnce`: the one who is
 *   chosen answers this message only, and not all that follow
 * @param {object} handlers
 * @param {(agentId: string | null) => void} handlers.onChoose
 * @param {() => void} handlers.onOrphaned it is closed, and its button is gone: the focus has to go elsewhere
 */
export function openAgentMenu(opener, agents, { ids, isOnce }, { onChoose, onOrphaned }) {
	const scope = isOnce ? t("Only this message") : t("From now on");
	const menu = element("div", {
		class: "menu agent-menu",
		role: "menu",
		popover: "auto",
		"aria-label": `${t("Answer with another agent")}: ${scope}`,
		/** @param {ToggleEvent} event */
		toggle({ newState }) {
			opener.setAttribute("aria-expanded", `${newState === "open"}`);
			if (newState !== "closed") return;
			menu.remove();
			if (!opener.isConnected && document.activeElement === document.body) onOrphaned();
		},
		/** @param {KeyboardEvent} event */
		keydown(event) {
			const items = /** @type {HTMLElement[]} */ ([...menu.querySelectorAll("[role=menuitem]")]);
			const index = items.findIndex((one) => one === document.activeElement);
			const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: -1 }[event.key];
			if (next !== undefined) items.at(next % items.length)?.focus();
			else if (event.key === "Tab") menu.hidePopover();
			else return;
			event.preventDefault();
		},
	});
	menu.append(element("p", { class: "menu-note", "aria-hidden": "true" }, scope));
	for (const id of ids) {
		const click = () => {
			menu.hidePopover();
			onChoose(id);
		};
		const name = element("bdi", {}, agents.nameOf(id));
		const note = element("bdi", { class: "agent-note" }, agents.noteOn(id));
		menu.append(element("button", { type: "button", role: "menuitem", tabindex: -1, click }, name, " ", note));
	}
	document.querySelector("main")?.append(menu); // In a landmark, and not in a message, which cuts off what leaves it.
	menu.showPopover();
	const near = opener.getBoundingClientRect();
	const { width, height } = menu.getBoundingClientRect();
	const isRightToLeft = getComputedStyle(opener).direction === "rtl";
	const left = Math.min(isRightToLeft ? near.right - width : near.left, innerWidth - width - MARGIN_PIXELS);
	const below = near.bottom + height + MARGIN_PIXELS <= innerHeight;
	menu.style.left = `${Math.max(left, MARGIN_PIXELS)}px`;
	menu.style.top = `${Math.max(below ? near.bottom : near.top - height, MARGIN_PIXELS)}px`;
	/** @type {HTMLElement | null} */ (menu.querySelector("[role=menuitem]"))?.focus();
}
