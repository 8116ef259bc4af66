/**
 * The text box: writing, sending, stopping.
 *
 * @typedef {ReturnType<typeof createComposer>} Composer
 */

import { t } from "../base/language.js";
import { drafts } from "../base/storage.js";
import { fitHeight } from "../ui/dom.js";
import { icon } from "../ui/icons.js";
import { isSendKey } from "../ui/send-key.js";
import { refuseFiles } from "./refuse-files.js";

/** The server counts code points; `length` counts UTF-16 code units, which are as many or more. @param {string} text */
const countCharacters = (text) => {
	let count = 0;
	for (const _ of text) count += 1;
	return count;
};

/**
 * @param {PageParts} parts
 * @param {boolean} canWrite otherwise a line says so in place of the text box
 * @param {object} handlers
 * @param {(text: string) => void} handlers.onSend
 * @param {() => void} handlers.onStop
 */
export const createComposer = (
	{ composer: form, readOnly, message: box, tooLong, send, stop, problem },
	canWrite,
	{ onSend, onStop },
) => {
	/** How long a message may be. The server wrote it into the page. */
	const most = Number(box.dataset.mostCharacters) || Infinity;
	/** @type {string | null} */
	let conversationId = null;
	let isAnswering = false;
	/** Whether the problem that is shown is over as soon as something else is written. */
	let isPassing = false;

	/** Shows what can be done with the text in the box. */
	const update = () => {
		fitHeight(box);
		const isBlank = !box.value.trim();
		const count = box.value.length > most ? countCharacters(box.value) : 0;
		const isTooLong = count > most;
		const text = isTooLong ? t("This text has {count} characters. A message has at most {most}.", { count, most }) : "";
		if (tooLong.textContent !== text) tooLong.textContent = text; // Screen readers read each change.
		box.setAttribute("aria-invalid", `${isTooLong}`);
		const focused = document.activeElement;
		send.hidden = isAnswering && isBlank;
		stop.hidden = !isAnswering;
		// Not `disabled`: the button would lose the focus.
		send.setAttribute("aria-disabled", `${isBlank || isTooLong}`);
		if ((focused === send && send.hidden) || (focused === stop && stop.hidden)) box.focus();
	};

	/** @param {string} text */
	const write = (text) => {
		box.value = text;
		update();
	};

	const submit = () => {
		// The server refuses text with halves of characters and NUL, and nobody wrote them on purpose.
		const text = box.value.toWellFormed().replaceAll("\0", "");
		box.focus();
		if (send.ariaDisabled === "true" || !text.trim()) return;
		onSend(text);
		write("");
		drafts.set(conversationId, "");
	};

	const focus = () => {
		// On a touch screen the focus would bring up the keyboard.
		if (matchMedia("(hover: hover)").matches) box.focus();
	};

	/** @param {HTMLElement} alert */
	const showProblem = (alert) => {
		isPassing = false;
		problem.replaceChildren(alert);
	};

	const clearProblem = () => {
		const hadFocus = problem.contains(document.activeElement);
		problem.replaceChildren();
		if (hadFocus) focus();
	};

	box.disabled = send.disabled = !canWrite; // Before now, nothing could have been sent.
	form.hidden = !canWrite;
	readOnly.hidden = canWrite;
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
		if (isPassing) clearProblem();
		isPassing = false;
		update();
	});
	box.addEventListener("keydown", (event) => {
		if (!isSendKey(event)) return;
		event.preventDefault();
		submit();
	});
	addEventListener("resize", () => fitHeight(box));
	refuseFiles((alert) => {
		if (form.hidden) return;
		showProblem(alert);
		isPassing = true;
	});

	return {
		/** @param {boolean} isSo */
		setAnswering(isSo) {
			if (isSo === isAnswering) return;
			isAnswering = isSo;
			update();
		},
		clearProblem,
		focus,
		/** Shows the draft of a conversation. @param {string | null} id null: a new conversation */
		open(id) {
			conversationId = id;
			form.hidden = !canWrite;
			clearProblem();
			isAnswering = false;
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
		showProblem,
		hide() {
			form.hidden = true;
		},
	};
};
