/**
 * The menu of a conversation's "Options" button.
 *
 * @import { Me } from "../account/me.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { Notices } from "../ui/feedback.js"
 * @import { OnOptions } from "./conversation-list.js"
 *
 * @typedef {ReturnType<typeof createConversationMenu>} ConversationMenu
 */

import { t } from "../base/language.js";
import { titleOf } from "../server/resources.js";
import { askTitle } from "../ui/dialogs.js";
import { element } from "../ui/dom.js";
import { describe } from "../ui/feedback.js";
import { menuItem, openMenu } from "../ui/menu.js";

/**
 * The menu of conversations, which opens below a button.
 *
 * @param {ApiClient} api
 * @param {Me} me
 * @param {Notices} notices
 * @param {object} handlers
 * @param {(conversation: Api.Conversation) => void} handlers.onChanged
 * @param {(conversation: Api.Conversation) => boolean} handlers.onDeleted returns whether it was open
 * @param {(conversation: Api.Conversation, wasOpen: boolean) => void} handlers.onRestored
 */
export const createConversationMenu = (api, me, notices, { onChanged, onDeleted, onRestored }) => {
	/** @param {() => Promise<void>} task */
	const attempt = async (task) => {
		notices.clear();
		await task().catch((error) => notices.warn(describe(error)));
	};

	/** @param {string} name @param {() => Promise<void>} task @param {string} [style] */
	const item = (name, task, style) => menuItem(name, () => void attempt(task), style);

	/** @param {string} name @param {string} href */
	const download = (name, href) => element("a", { role: "menuitem", tabindex: -1, href, download: true }, name);

	/** @param {Api.Conversation} conversation @param {boolean} away */
	const archive = async (conversation, away) => {
		onChanged(await api.act(conversation.id, away ? "archive" : "unarchive"));
		const title = titleOf(conversation);
		notices.offerUndo(away ? t("“{title}” archived", { title }) : t("“{title}” is back", { title }), () =>
			attempt(async () => onChanged(await api.act(conversation.id, away ? "unarchive" : "archive"))),
		);
	};

	/** @param {Api.Conversation} conversation */
	const remove = async (conversation) => {
		await api.deleteConversation(conversation.id);
		const wasOpen = onDeleted(conversation);
		notices.offerUndo(t("“{title}” deleted", { title: titleOf(conversation) }), () =>
			attempt(async () => onRestored(await api.act(conversation.id, "restore"), wasOpen)),
		);
	};

	/** @param {Api.Conversation} conversation */
	const rename = async ({ id, title }) =>
		askTitle(title ?? "", (text) =>
			attempt(async () => onChanged(await api.updateConversation(id, { title: text || null }))),
		);

	/** What can be done with a conversation, in the order of the menu. @param {Api.Conversation} conversation */
	const actionsOn = (conversation) => {
		const { id, pinnedAt, archivedAt } = conversation;
		if (!me.canWrite) return [];
		const togglePin = async () => onChanged(await api.act(id, pinnedAt ? "unpin" : "pin"));
		return [
			{ name: t("Rename"), task: () => rename(conversation) },
			{ name: pinnedAt ? t("Unpin") : t("Pin"), task: togglePin },
			{ name: archivedAt ? t("Unarchive") : t("Archive"), task: () => archive(conversation, !archivedAt) },
		];
	};

	/** @type {OnOptions} */
	const open = (button, conversation) => {
		const { id } = conversation;
		/** @type {HTMLElement[]} */
		const children = [
			...actionsOn(conversation).map(({ name, task }) => item(name, task)),
			download(t("Export as Markdown"), api.exportUrl(id, "markdown")),
			download(t("Export as JSON"), api.exportUrl(id, "json")),
		];
		if (me.canWrite) children.push(element("hr"), item(t("Delete"), () => remove(conversation), "danger"));
		openMenu(button, { name: t("Options"), children });
	};

	return {
		open,
		/** What the palette offers: the menu without exports. @param {Api.Conversation} conversation */
		actionsOn(conversation) {
			const all = actionsOn(conversation);
			if (me.canWrite) all.push({ name: t("Delete"), task: () => remove(conversation) });
			return all.map(({ name, task }) => {
				return { name: t("This conversation: {action}", { action: name }), run: () => void attempt(task) };
			});
		},
	};
};
