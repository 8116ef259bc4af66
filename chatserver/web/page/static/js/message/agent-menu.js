/** The menu of the agents that can answer instead. */

import { t } from "../base/language.js";
import { element } from "../ui/dom.js";

const MARGIN_PIXELS = 8;

/**
 * Opens the menu beside a button.
 *
 * @param {HTMLElement} opener
 * @param {readonly string[][]} agents pairs of id and name
 * @param {object} handlers
 * @param {(agentId: string) => void} handlers.onChoose
 * @param {() => void} handlers.onOrphaned it is closed, and its button is gone: the focus has to go elsewhere
 */
export function openAgentMenu(opener, agents, { onChoose, onOrphaned }) {
	const menu = element("div", {
		class: "menu agent-menu",
		role: "menu",
		popover: "auto",
		"aria-label": t("Answer with another agent"),
		/** @param {ToggleEvent} event */
		toggle({ newState }) {
			opener.setAttribute("aria-expanded", `${newState === "open"}`);
			if (newState !== "closed") return;
			menu.remove();
			if (!opener.isConnected && document.activeElement === document.body) onOrphaned();
		},
		/** @param {KeyboardEvent} event */
		keydown(event) {
			const items = /** @type {HTMLElement[]} */ ([...menu.children]);
			const index = items.findIndex((one) => one === document.activeElement);
			const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: -1 }[event.key];
			if (next !== undefined) items.at(next % items.length)?.focus();
			else if (event.key === "Tab") menu.hidePopover();
			else return;
			event.preventDefault();
		},
	});
	for (const [id, name] of agents) {
		const click = () => {
			menu.hidePopover();
			onChoose(id);
		};
		menu.append(element("button", { type: "button", role: "menuitem", tabindex: -1, dir: "auto", click }, name));
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
	/** @type {HTMLElement | null} */ (menu.firstElementChild)?.focus();
}
