/**
 * The menu of the agents that can answer instead.
 *
 * @typedef {{ nameOf(id: string | null): string, noteOn(id: string | null): string }} AgentNames
 */

import { t } from "../base/language.js";
import { element } from "../ui/dom.js";
import { menuItem, openMenu } from "../ui/menu.js";

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
	const items = ids.map((id) => {
		const note = element("bdi", { class: "agent-note" }, agents.noteOn(id));
		return menuItem([element("bdi", {}, agents.nameOf(id)), " ", note], () => onChoose(id));
	});
	openMenu(opener, {
		name: `${t("Answer with another agent")}: ${scope}`,
		style: "menu agent-menu",
		children: [element("p", { class: "menu-note", "aria-hidden": "true" }, scope), ...items],
		onClosed: () => !opener.isConnected && document.activeElement === document.body && onOrphaned(),
	});
}
