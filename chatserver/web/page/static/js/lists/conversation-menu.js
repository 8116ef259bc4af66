/** What can be done with a whole conversation, as the menu of its "Options" button. */

import { titleOf } from "./conversation-list.js";
import { askTitle } from "../ui/dialogs.js";
import { element } from "../ui/dom.js";
import { describe } from "../ui/feedback.js";

const MARGIN_PIXELS = 8;

/** @type {CreateConversationMenu} */
export const createConversationMenu = (api, notices, { onChanged, onDeleted, onRestored }) => {
	const menu = element("div", { class: "menu", role: "menu", popover: "auto", "aria-label": "Options" });
	/** @type {HTMLElement | null} */
	let opener = null;

	/** @param {() => Promise<void>} task */
	const attempt = async (task) => {
		notices.clear();
		await task().catch((error) => notices.warn(describe(error)));
	};

	/** @param {string} name @param {() => Promise<void>} task */
	const item = (name, task) => {
		const click = () => {
			menu.hidePopover(); // Gives the focus back first, for a dialog to give it back in turn.
			void attempt(task);
		};
		return element("button", { type: "button", role: "menuitem", tabindex: -1, click }, name);
	};

	/** @param {string} name @param {string} href */
	const download = (name, href) => element("a", { role: "menuitem", tabindex: -1, href, download: true }, name);

	/** @param {Conversation} conversation @param {boolean} away */
	const archive = async (conversation, away) => {
		onChanged(await api.act(conversation.id, away ? "archive" : "unarchive"));
		notices.offerUndo(`“${titleOf(conversation)}” ${away ? "archived" : "is back"}`, () =>
			attempt(async () => onChanged(await api.act(conversation.id, away ? "unarchive" : "archive"))),
		);
	};

	/** @param {Conversation} conversation */
	const remove = async (conversation) => {
		await api.deleteConversation(conversation.id);
		const wasOpen = onDeleted(conversation);
		notices.offerUndo(`“${titleOf(conversation)}” deleted`, () =>
			attempt(async () => onRestored(await api.act(conversation.id, "restore"), wasOpen)),
		);
	};

	/** @param {Conversation} conversation */
	const rename = async ({ id, title }) =>
		askTitle(title ?? "", (text) =>
			attempt(async () => onChanged(await api.updateConversation(id, { title: text || null }))),
		);

	/** @param {DOMRect} near */
	const place = (near) => {
		const { width, height } = menu.getBoundingClientRect();
		const left = Math.min(near.left, innerWidth - width - MARGIN_PIXELS);
		const top = near.bottom + height + MARGIN_PIXELS > innerHeight ? near.top - height : near.bottom;
		menu.style.left = `${Math.max(left, MARGIN_PIXELS)}px`;
		menu.style.top = `${Math.max(top, MARGIN_PIXELS)}px`;
	};

	menu.addEventListener("click", () => menu.hidePopover());
	menu.addEventListener("toggle", (event) => {
		opener?.setAttribute("aria-expanded", `${/** @type {ToggleEvent} */ (event).newState === "open"}`);
	});
	menu.addEventListener("keydown", (event) => {
		const items = /** @type {HTMLElement[]} */ ([...menu.children]);
		const index = items.findIndex((one) => one === document.activeElement);
		const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: -1 }[event.key];
		if (next !== undefined) items.at(next % items.length)?.focus();
		else if (event.key === "Tab") menu.hidePopover();
		else return;
		event.preventDefault();
	});
	return (button, conversation) => {
		const { id, pinnedAt, archivedAt } = conversation;
		menu.replaceChildren(
			item("Rename", () => rename(conversation)),
			item(pinnedAt ? "Unpin" : "Pin", async () => onChanged(await api.act(id, pinnedAt ? "unpin" : "pin"))),
			item(archivedAt ? "Unarchive" : "Archive", () => archive(conversation, !archivedAt)),
			download("Export as Markdown", api.exportUrl(id, "markdown")),
			download("Export as JSON", api.exportUrl(id, "json")),
			item("Delete", () => remove(conversation)),
		);
		// The event of its closing is yet to come.
		opener?.setAttribute("aria-expanded", "false");
		opener = button;
		button.after(menu); // So it is part of the same landmark.
		menu.showPopover();
		place(button.getBoundingClientRect());
		/** @type {HTMLElement} */ (menu.firstElementChild).focus();
	};
};
