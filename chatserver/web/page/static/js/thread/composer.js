/**
 * The text box: writing, sending, stopping.
 *
 * @typedef {ReturnType<typeof createComposer>} Composer
 */

import { drafts } from "../base/storage.js";
import { fitHeight, isComposing } from "../ui/dom.js";
import { icon } from "../ui/icons.js";

/**
 * @param {PageParts} parts
 * @param {object} handlers
 * @param {(text: string) => boolean} handlers.onSend returns whether the text was taken
 * @param {() => void} handlers.onStop
 */
export const createComposer = ({ composer: form, message: box, send, stop, problem }, { onSend, onStop }) => {
	/** @type {string | null} */
	let conversationId = null;

	/** @param {string} text */
	const write = (text) => {
		box.value = text;
		fitHeight(box);
	};

	const submit = () => {
		const text = box.value;
		box.focus();
		if (send.hidden || !text.trim() || !onSend(text)) return;
		write("");
		drafts.set(conversationId, "");
	};

	/** @param {boolean} isAnswering */
	const setAnswering = (isAnswering) => {
		const focused = document.activeElement;
		send.hidden = isAnswering;
		stop.hidden = !isAnswering;
		if (focused === send || focused === stop) box.focus();
	};

	const focus = () => {
		// On a touch screen the focus would bring up the keyboard.
		if (matchMedia("(hover: hover)").matches) box.focus();
	};

	const clearProblem = () => {
		const hadFocus = problem.contains(document.activeElement);
		problem.replaceChildren();
		if (hadFocus) focus();
	};

	box.disabled = send.disabled = false; // Before now, nothing could have been sent.
	send.append(icon("send"));
	stop.append(icon("stop"));
	stop.addEventListener("click", onStop);
	form.addEventListener("submit", (event) => {
		event.preventDefault();
		submit();
	});
	form.addEventListener("click", ({ target }) => target === form && box.focus());
	box.addEventListener("input", () => {
		drafts.set(conversationId, box.value);
		fitHeight(box);
	});
	box.addEventListener("keydown", (event) => {
		if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
		event.preventDefault();
		submit();
	});
	addEventListener("resize", () => fitHeight(box));

	return {
		setAnswering,
		clearProblem,
		focus,
		/** Shows the draft of a conversation. @param {string | null} id null: a new conversation */
		open(id) {
			conversationId = id;
			form.hidden = false;
			clearProblem();
			setAnswering(false);
			write(drafts.get(id));
		},
		/** The new conversation was created: its draft moves along. @param {string} id */
		adopt(id) {
			drafts.set(conversationId, "");
			conversationId = id;
			drafts.set(id, box.value);
		},
		/**
		 * Appends text that would be lost otherwise to a draft.
		 *
		 * @param {string} text
		 * @param {string | null} [id] of the conversation; the open one by default
		 */
		giveBack(text, id = conversationId) {
			const isHere = id === conversationId;
			const all = [isHere ? box.value : drafts.get(id), text].filter(Boolean).join("\n\n");
			drafts.set(id, all);
			if (!isHere) return;
			write(all);
			box.focus();
		},
		/** @param {HTMLElement} alert */
		showProblem: (alert) => problem.replaceChildren(alert),
		hide() {
			form.hidden = true;
		},
	};
};
