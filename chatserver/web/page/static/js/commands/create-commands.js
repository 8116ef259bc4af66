/**
 * The commands of the page, and the dialogs that show them: the palette, the list of keys, the settings.
 *
 * @import { Me } from "../account/me.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { Command } from "./commands.js"
 * @import { Entry } from "./palette.js"
 */

import { t } from "../base/language.js";
import { addressOf } from "../base/router.js";
import { forThisTab, recall, remember } from "../base/storage.js";
import { titleOf } from "../server/resources.js";
import { icon } from "../ui/icons.js";
import { onDemand } from "../ui/on-demand.js";
import { shortTime } from "../ui/time.js";
import { bindKeys } from "./commands.js";
import { modName } from "./keys.js";

const loadPalette = onDemand(() => import("./palette.js"));
const loadShortcuts = onDemand(() => import("./shortcuts-dialog.js"));
const loadSettings = onDemand(() => import("../settings/settings-dialog.js"));

const MOST_CONVERSATIONS = 8;
/** Set while the page is loaded again in another language: the settings stay open. */
const SETTINGS_OPEN = "settings open";

/** @param {HTMLElement} toggle */
const isPressed = (toggle) => toggle.getAttribute("aria-pressed") === "true";

/**
 * @param {PageParts} parts
 * @param {object} context
 * @param {ApiClient} context.api
 * @param {Me} context.me
 * @param {string} context.companyId
 * @param {() => readonly Entry[]} context.agents those that can answer this conversation
 * @param {() => Promise<Command[]>} context.actions what can be done with the open conversation
 * @param {() => Command[]} context.account what can be done about signing in
 * @param {(address: string) => void} context.go
 * @param {(error: unknown) => void} context.onError
 */
export const createCommands = (parts, { api, me, companyId, agents, actions, account, go, onError }) => {
	/** @param {() => Promise<unknown>} task */
	const attempt = (task) => () => void task().catch(onError);

	/** Does what a button of the sidebar does, and shows the sidebar. @param {HTMLElement} target */
	const inSidebar = (target) => () => {
		if (parts.drawerOpen.checkVisibility()) parts.drawerOpen.click();
		if (target instanceof HTMLButtonElement) target.click();
		target.focus();
	};

	const openSettings = attempt(async () => {
		const dialogs = await loadSettings();
		const onLanguage = () => {
			remember(SETTINGS_OPEN, "yes", forThisTab);
			location.reload();
		};
		dialogs.openSettings({ mod: modName(), onLanguage, onShortcuts: openShortcuts });
	});
	const openShortcuts = attempt(async () => (await loadShortcuts()).openShortcuts(commands()));
	const openPalette = attempt(async () => {
		const [{ openPalette }, more] = await Promise.all([loadPalette(), actions()]);
		openPalette({ agents, conversations, commands: () => [...commands().slice(1), ...more] });
	});

	/** @param {string} query @param {AbortSignal} signal */
	const conversations = async (query, signal) => {
		const filter = { limit: MOST_CONVERSATIONS, q: query || null, archived: query ? /** @type {const} */ ("all") : null };
		const { items } = await api.listConversations(companyId, filter, signal);
		return items.map((conversation) => ({
			name: titleOf(conversation),
			note: conversation.archivedAt ? t("Archived") : shortTime(conversation.updatedAt),
			run: () => go(addressOf(conversation.id)),
		}));
	};

	/** @returns {Command[]} */
	const commands = () => {
		const { archived, bookmarked, manageAgents, newConversation, search } = parts;
		const start = { name: t("New conversation"), keys: "Mod+Shift+O", run: () => newConversation.click() };
		const manage = { name: t("Manage agents…"), run: () => manageAgents.click() };
		return [
			{ name: t("Go to a conversation, an agent or an action"), keys: "Mod+K", run: openPalette },
			...(me.canWrite ? [start] : []),
			{ name: t("Search messages"), keys: "/", run: inSidebar(search) },
			{
				name: isPressed(bookmarked) ? t("Hide bookmarks") : t("Show bookmarks"),
				run: inSidebar(bookmarked),
			},
			{
				name: isPressed(archived) ? t("Hide archived conversations") : t("Show archived conversations"),
				run: inSidebar(archived),
			},
			...(me.canManage ? [manage] : []),
			{ name: t("Settings"), run: openSettings },
			{ name: t("Keyboard shortcuts"), keys: "?", run: openShortcuts },
			{ name: t("Help: connect a model"), run: () => location.assign("/help") },
			...account(),
		];
	};

	parts.settings.append(icon("settings"));
	parts.settings.addEventListener("click", openSettings);
	bindKeys(commands);
	if (recall(SETTINGS_OPEN, forThisTab)) {
		remember(SETTINGS_OPEN, "", forThisTab);
		openSettings();
	}
};
