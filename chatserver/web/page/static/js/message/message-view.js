/**
 * How one message looks: a person's, a finished answer, or an answer that is being generated.
 *
 * @import { Progress } from "../base/browser-tabs.js"
 * @import { Message } from "../server/resources.js"
 * @import { Announce } from "../ui/feedback.js"
 * @import { Facts } from "./answer-facts.js"
 * @import { RenderBlocks } from "./message-content.js"
 * @import { editMessage } from "./message-editor.js"
 * @import { Version, VersionPager } from "./version-pager.js"
 *
 * @typedef {ReturnType<typeof createMessageView>} MessageView
 *
 * @typedef {{ answerId: string, direction: "previous" | "next", pager: VersionPager }} Leaf To another version.
 *
 * @typedef {object} MessageActions
 * @property {Announce} announce
 * @property {RenderBlocks} render
 * @property {(message: Message, open: (edit: typeof editMessage) => void) => void} onEdit loads the editor for `open`
 * @property {(message: Message, text: string) => Promise<void>} onSave fails with an error that the editor shows
 * @property {(text: string) => void} onLost the editor was closed while it saved, and saving failed
 * @property {(message: Message) => void} onRegenerate
 * @property {(message: Message, opener: HTMLElement) => void} onOtherAgent
 * @property {(message: Message) => void} onContinue
 * @property {(message: Message, leaf: Leaf) => void} onLeaf
 * @property {(message: Message) => void} onBranch
 * @property {(message: Message) => void} onBookmark
 *
 * @typedef {object} MessageState
 * @property {string} author
 * @property {boolean} isByOther it is another person's, whose name stands above it
 * @property {boolean} canChange whether it can be edited
 * @property {boolean} canWrite whether anything can be done but reading
 * @property {boolean} isNewest
 * @property {boolean} canRegenerate
 * @property {boolean} hasOtherAgents
 * @property {boolean} isBookmarked
 * @property {Version | null} version null: there is only one
 *
 * @typedef {Pick<Message, "editedAt" | "status">} State
 *
 * @typedef {Omit<MessageState, "author" | "isByOther" | "isNewest" | "version">} Buttons
 */

import { t } from "../base/language.js";
import { effectiveContent } from "../server/resources.js";
import { copyButton } from "../ui/clipboard.js";
import { button, element } from "../ui/dom.js";
import { iconButton } from "../ui/icons.js";
import { fullTime, shortTime } from "../ui/time.js";
import { answerFacts } from "./answer-facts.js";
import { createMessageContent } from "./message-content.js";
import { createThinking } from "./thinking.js";
import { createVersionPager } from "./version-pager.js";

/** A model that says nothing for so long pauses. */
const PAUSE_MILLISECONDS = 1_000;

/**
 * Returns a function that calls `show`, unless all would be as after the last call: buttons that are made anew lose the
 * focus, and details that are open close.
 *
 * @template {unknown[]} T
 * @param {(...values: T) => void} show
 */
const unlessSame = (show) => {
	let before = "";
	return (/** @type {T} */ ...values) => {
		const now = JSON.stringify(values);
		if (now !== before) show(...values);
		before = now;
	};
};

/** @param {Api.ChatMessage["role"]} role @param {string} author @param {MessageActions} actions */
export const createMessageView = (role, author, actions) => {
	const name = element("p", { class: "author", dir: "auto" }, author);
	const content = createMessageContent(actions);
	const thinking = createThinking();
	/** Below the content: that the answer reached its limit. */
	const note = element("p", { class: "note", hidden: true });
	const marks = element("span", { class: "foot-marks" });
	const buttons = element("span", { class: "actions" });
	/** As it is shown. @type {Message | null} */
	let stored = null;
	/** @type {VersionPager} */
	const pager = createVersionPager((answerId, direction) => {
		if (stored) actions.onLeaf(stored, { answerId, direction, pager });
	});
	const foot = element("footer", { class: "message-foot" }, buttons, pager.element, marks);
	const article = element("article", { class: `message ${role}`, "aria-label": author }, content.element, note, foot);
	if (role === "assistant") article.prepend(name);
	/** @type {ReturnType<typeof editMessage> | null} */
	let editor = null;
	/** The message and state that are shown, as JSON. */
	let shown = "";
	/** Shown at the next frame of the screen. @type {Progress | null} */
	let waiting = null;
	/** @type {ReturnType<typeof setTimeout> | undefined} */
	let pause;

	const showThinking = () => {
		if (!thinking.element.parentNode) name.after(thinking.element);
	};

	/** While words come, nothing else has to move: an animation costs as much as they do. */
	const noteWords = () => {
		article.classList.add("flowing");
		clearTimeout(pause);
		pause = setTimeout(() => article.classList.remove("flowing"), PAUSE_MILLISECONDS);
	};

	const paint = () => {
		if (waiting) noteWords();
		if (waiting?.reasoning) {
			thinking.show(waiting.reasoning, waiting.content !== "");
			showThinking();
		}
		// The text that was shown before a reset stays until there is new text.
		if (waiting?.content) content.showProgress(waiting.content);
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
				if (isHere) /** @type {HTMLElement | null} */ (buttons.querySelector(".edit-button"))?.focus();
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

	/** @param {string} text @param {string} [title] */
	const mark = (text, title) => element("span", { class: "mark", title }, text);

	const showMarks = unlessSame((/** @type {Facts} */ facts, /** @type {State} */ { editedAt, status }) => {
		marks.replaceChildren();
		if (editedAt) marks.append(mark(t("edited"), fullTime(editedAt)));
		if (status === "stopped") marks.append(mark(t("stopped")));
		marks.append(answerFacts(facts));
	});

	const showNote = unlessSame((/** @type {boolean} */ isCut, /** @type {boolean} */ canContinue) => {
		note.hidden = !isCut;
		note.replaceChildren(...(isCut ? [t("The answer reached its limit.")] : []));
		if (isCut && canContinue) note.append(button(t("Continue"), () => stored && actions.onContinue(stored)));
	});

	/** @param {(message: Message) => void} act */
	const onStored = (act) => () => stored && act(stored);

	const showButtons = unlessSame((/** @type {Buttons} */ now) => {
		const { canChange, canWrite, canRegenerate, hasOtherAgents, isBookmarked } = now;
		const bookmark = iconButton(t("Bookmark"), "bookmark", onStored(actions.onBookmark));
		bookmark.setAttribute("aria-pressed", `${isBookmarked}`);
		const all = [copyButton(t("Copy"), () => (stored ? effectiveContent(stored) : ""), actions.announce)];
		if (canChange) {
			all.push(iconButton(t("Edit"), "edit", onStored(edit)));
			all[1].classList.add("edit-button");
		}
		if (canRegenerate) all.push(iconButton(t("Regenerate"), "again", onStored(actions.onRegenerate)));
		if (canRegenerate && hasOtherAgents) {
			const choose = onStored((message) => actions.onOtherAgent(message, other));
			const other = iconButton(t("Answer with another agent"), "agent", choose);
			other.setAttribute("aria-haspopup", "menu");
			all.push(other);
		}
		if (canWrite) all.push(iconButton(t("Branch"), "branch", onStored(actions.onBranch)), bookmark);
		buttons.replaceChildren(...all);
	});

	/** If what has the focus is made anew or taken away, the focus stays in the message. @param {() => void} change */
	const keepFocus = (change) => {
		const focused = document.activeElement;
		const isHere = article.contains(focused);
		change();
		if (!isHere || article.contains(focused)) return;
		const name = focused?.ariaLabel ?? focused?.textContent;
		const all = [...article.querySelectorAll("button")];
		const again = all.find((one) => (one.ariaLabel ?? one.textContent) === name) ?? buttons.querySelector("button");
		again?.focus({ preventScroll: true });
	};

	const showPager = unlessSame(pager.show);

	const showFinished = () => {
		paint();
		clearTimeout(pause);
		article.classList.remove("running", "pending", "flowing");
		article.removeAttribute("aria-busy");
	};

	return {
		element: article,
		pager,
		/** The text in the editor; null if there is no editor, or nothing to save. */
		unsaved: () => editor?.unsaved() ?? null,
		/** Shows a person's message on its way to the server. @param {string} text */
		showPending(text) {
			article.classList.add("pending");
			content.showText(text);
		},
		/**
		 * From now on the answer is read while it is generated.
		 *
		 * @param {boolean} fromBeginning whether this tab misses nothing of it
		 */
		showRunning(fromBeginning) {
			thinking.time(fromBeginning);
			article.classList.add("running");
			article.setAttribute("aria-busy", "true");
		},
		/** Shows how far an answer has come, at most once per frame of the screen. @param {Progress} progress */
		showProgress(progress) {
			thinking.note(progress);
			if (!waiting) requestAnimationFrame(paint);
			waiting = progress;
		},
		/** The answer broke off: there will be no more of it, and it is not stored. @param {string} text what there is */
		showBrokenOff(text) {
			showFinished();
			if (thinking.element.parentNode) thinking.fold();
			article.classList.add("broken-off");
			marks.replaceChildren();
			buttons.replaceChildren(copyButton(t("Copy"), () => text, actions.announce));
		},
		/** Shows a stored message. @param {Message} message @param {MessageState} state */
		update(message, state) {
			const now = JSON.stringify([message, state]);
			if (now === shown) return;
			shown = now;
			stored = message;
			showFinished();
			article.id = `m-${message.id}`;
			article.classList.toggle("newest", state.isNewest);
			article.setAttribute("aria-label", `${state.author}, ${shortTime(message.createdAt)}`);
			name.textContent = state.author;
			if (state.isByOther) article.prepend(name);
			if (message.html) content.showHtml(message.html);
			else if (role === "assistant" && message.html === undefined) content.showProgress(effectiveContent(message));
			else content.showText(effectiveContent(message));
			if (message.reasoning) showThinking();
			if (thinking.element.parentNode) thinking.fold(message);
			const { author, isNewest, canChange, canWrite, canRegenerate, hasOtherAgents, isBookmarked, version } = state;
			const { id, createdAt, model, usage, durationMs, editedAt, status } = message;
			keepFocus(() => {
				showNote(message.stopReason === "length", isNewest && canWrite);
				showMarks({ author, id, createdAt, model, usage, durationMs }, { editedAt, status });
				showButtons({ canChange, canWrite, canRegenerate, hasOtherAgents, isBookmarked });
				showPager(version);
			});
		},
		/** The message is not shown any more. */
		close() {
			waiting = null;
			content.stop();
		},
	};
};
