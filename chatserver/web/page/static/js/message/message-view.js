/** How one message looks: a person's, a finished answer, or one in the making. */

import { copyButton } from "../ui/clipboard.js";
import { element } from "../ui/dom.js";
import { iconButton } from "../ui/icons.js";
import { createMessageContent, growingText } from "./message-content.js";
import { fullTime, shortTime, timeElement } from "../ui/time.js";

/** What models and people see of it. @param {Message} message */
export function effectiveContent(message) {
	return message.editedContent ?? message.content;
}

/** @type {CreateMessageView} */
export const createMessageView = (role, author, actions) => {
	const name = element("p", { class: "author", dir: "auto" }, author);
	const content = createMessageContent(actions.announce);
	const reasoning = element("div", { class: "reasoning-text", dir: "auto" });
	const thinking = element("details", { class: "reasoning" }, element("summary", {}, "Thinking"), reasoning);
	const marks = element("span", { class: "marks" });
	const buttons = element("span", { class: "actions" });
	const foot = element("footer", { class: "message-foot" }, marks, buttons);
	const article = element("article", { class: `message ${role}`, "aria-label": author }, content.element, foot);
	if (role === "assistant") article.prepend(name);
	const setReasoning = growingText(reasoning);
	/** @type {ReturnType<EditMessage> | null} */
	let editor = null;
	/** What is shown, as JSON. */
	let shown = "";
	/** What the next frame shows. @type {Progress | null} */
	let waiting = null;

	const paint = () => {
		// What was shown stays until something takes its place.
		if (waiting?.content) content.showText(waiting.content);
		if (waiting?.reasoning) {
			setReasoning(waiting.reasoning);
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
				onLost: (text) => actions.onLost(message, text),
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
		unsaved: () => editor?.unsaved() ?? null,
		showPending(text) {
			article.classList.add("pending");
			content.showText(text);
		},
		showProgress(progress) {
			article.classList.add("running");
			article.setAttribute("aria-busy", "true");
			if (!waiting) requestAnimationFrame(paint);
			waiting = progress;
		},
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
			else content.showText(effectiveContent(message));
			showMarks(message);
			showButtons(message, state);
		},
	};
};
