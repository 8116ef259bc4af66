/**
 * How one message looks: a person's, a finished answer, or an answer that is being generated.
 *
 * @import { Progress } from "../base/browser-tabs.js"
 * @import { Message } from "../server/resources.js"
 * @import { Announce } from "../ui/feedback.js"
 * @import { RenderBlocks } from "./message-content.js"
 * @import { editMessage } from "./message-editor.js"
 *
 * @typedef {ReturnType<typeof createMessageView>} MessageView
 *
 * @typedef {object} MessageActions
 * @property {Announce} announce
 * @property {RenderBlocks} render
 * @property {(message: Message, open: (edit: typeof editMessage) => void) => void} onEdit loads the editor for `open`
 * @property {(message: Message, text: string) => Promise<void>} onSave fails with an error that the editor shows
 * @property {(text: string) => void} onLost the editor was closed while it saved, and saving failed
 * @property {(message: Message) => void} onRegenerate
 * @property {(message: Message) => void} onBranch
 * @property {(message: Message) => void} onBookmark
 *
 * @typedef {object} MessageState
 * @property {string} author
 * @property {boolean} isNewest
 * @property {boolean} canRegenerate
 * @property {boolean} isBookmarked
 */

import { effectiveContent } from "../server/resources.js";
import { copyButton } from "../ui/clipboard.js";
import { element } from "../ui/dom.js";
import { iconButton } from "../ui/icons.js";
import { fullTime, shortTime, timeElement } from "../ui/time.js";
import { createMessageContent, growingText } from "./message-content.js";

/** @param {Api.ChatMessage["role"]} role @param {string} author @param {MessageActions} actions */
export const createMessageView = (role, author, actions) => {
	const name = element("p", { class: "author", dir: "auto" }, author);
	const content = createMessageContent(actions);
	const reasoning = element("div", { class: "reasoning-text", dir: "auto" });
	const thinking = element("details", { class: "reasoning" }, element("summary", {}, "Thinking"), reasoning);
	const marks = element("span", { class: "marks" });
	const buttons = element("span", { class: "actions" });
	const foot = element("footer", { class: "message-foot" }, marks, buttons);
	const article = element("article", { class: `message ${role}`, "aria-label": author }, content.element, foot);
	if (role === "assistant") article.prepend(name);
	const setReasoning = growingText(reasoning);
	/** @type {ReturnType<typeof editMessage> | null} */
	let editor = null;
	/** The message and state that are shown, as JSON. */
	let shown = "";
	/** Shown at the next frame of the screen. @type {Progress | null} */
	let waiting = null;

	const paint = () => {
		// The text that was shown before a reset stays until there is new text.
		if (waiting?.content) content.showProgress(waiting.content);
		if (waiting?.reasoning) {
			setReasoning(waiting.reasoning, true);
			if (!thinking.parentNode) name.after(thinking);
		}
		waiting = null;
	};

	/** @param {Message} message */
	const edit = (message) =>
		actions.onEdit(message, (editMessage) => {
			if (editor) return;
			const close = () => {
				const focused = document.activeElement;
				const isHere = focused === document.body || editor?.form.contains(focused);
				editor?.form.replaceWith(content.element, foot);
				editor = null;
				article.classList.remove("editing");
				if (isHere) /** @type {HTMLElement | null} */ (buttons.querySelector("[aria-label=Edit]"))?.focus();
			};
			editor = editMessage(effectiveContent(message), {
				onSave: (text) => actions.onSave(message, text),
				onClose: close,
				onLost: actions.onLost,
			});
			foot.remove();
			content.element.replaceWith(editor.form);
			article.classList.add("editing");
			editor.focus();
		});

	/** @param {Message} message */
	const showMarks = ({ createdAt, editedAt, status }) => {
		marks.replaceChildren(timeElement(createdAt));
		if (editedAt) marks.append(element("span", { class: "mark", title: fullTime(editedAt) }, "edited"));
		if (status === "stopped") marks.append(element("span", { class: "mark" }, "stopped"));
	};

	/** @param {Message} message @param {MessageState} state */
	const showButtons = (message, { canRegenerate, isBookmarked }) => {
		const focused = buttons.querySelector(":focus")?.getAttribute("aria-label");
		const bookmark = iconButton("Bookmark", "bookmark", () => actions.onBookmark(message));
		bookmark.setAttribute("aria-pressed", `${isBookmarked}`);
		const all = [
			copyButton("Copy", () => effectiveContent(message), actions.announce),
			role === "user" && iconButton("Edit", "edit", () => edit(message)),
			canRegenerate && iconButton("Regenerate", "again", () => actions.onRegenerate(message)),
			iconButton("Branch", "branch", () => actions.onBranch(message)),
			bookmark,
		].filter((one) => one instanceof HTMLElement);
		buttons.replaceChildren(...all);
		all.find(({ ariaLabel }) => ariaLabel === focused)?.focus();
	};

	return {
		element: article,
		/** The text in the editor; null if there is no editor, or nothing to save. */
		unsaved: () => editor?.unsaved() ?? null,
		/** Shows a person's message on its way to the server. @param {string} text */
		showPending(text) {
			article.classList.add("pending");
			content.showText(text);
		},
		/** Shows how far an answer has come, at most once per frame of the screen. @param {Progress} progress */
		showProgress(progress) {
			article.classList.add("running");
			article.setAttribute("aria-busy", "true");
			if (!waiting) requestAnimationFrame(paint);
			waiting = progress;
		},
		/** Shows a stored message. @param {Message} message @param {MessageState} state */
		update(message, state) {
			const now = JSON.stringify([message, state]);
			if (now === shown) return;
			shown = now;
			paint();
			article.id = `m-${message.id}`;
			article.classList.remove("running", "pending");
			article.classList.toggle("newest", state.isNewest);
			article.removeAttribute("aria-busy");
			article.setAttribute("aria-label", `${state.author}, ${shortTime(message.createdAt)}`);
			name.textContent = state.author;
			if (message.html) content.showHtml(message.html);
			else if (role === "assistant" && message.html === undefined) content.showProgress(effectiveContent(message));
			else content.showText(effectiveContent(message));
			showMarks(message);
			showButtons(message, state);
		},
	};
};
