/** The model's thinking above its answer: open while the model thinks, folded away afterwards. */

import { t } from "../base/language.js";
import { element } from "../ui/dom.js";
import { growingText } from "./growing-text.js";

export const createThinking = () => {
	const text = element("div", { class: "reasoning-text", dir: "auto" });
	const summary = element("summary");
	const details = element("details", { class: "reasoning" }, summary, text);
	const setText = growingText(text);
	/** Whether a person opened or closed it: then it stays as it is. */
	let isChosen = false;
	/** Whether this tab reads the answer from its beginning on, and so knows how long the model thought. */
	let isTimed = false;
	let known = { content: "", reasoning: "" };
	let thinksSince = 0;
	let seconds = 0;

	summary.addEventListener("click", () => (isChosen = true));

	/** @param {boolean} isOpen */
	const fold = (isOpen) => {
		if (!isChosen) details.open = isOpen;
	};

	return {
		element: details,
		/** From now on the answer is read as it is made, from its beginning on, or not. @param {boolean} fromBeginning */
		time(fromBeginning) {
			isTimed = fromBeginning;
		},
		/** More of the thinking or of the answer was received. @param {{ content: string, reasoning: string }} progress */
		note({ content, reasoning }) {
			const now = performance.now();
			if (reasoning.length > known.reasoning.length) thinksSince ||= now;
			if (content.length > known.content.length && thinksSince) {
				seconds += (now - thinksSince) / 1000;
				thinksSince = 0;
			}
			known = { content, reasoning };
		},
		/** Shows the thinking of an answer that grows. @param {string} reasoning @param {boolean} isOver */
		show(reasoning, isOver) {
			setText(reasoning, true);
			if (isOver) return this.fold();
			summary.textContent = t("Thinking");
			fold(true);
		},
		/**
		 * The thinking is over.
		 *
		 * @param {Partial<Pick<Api.ChatMessage, "reasoning" | "reasoningMs">>} [stored] all of it, and how long it took
		 */
		fold({ reasoning, reasoningMs } = {}) {
			if (reasoning) setText(reasoning);
			const took = reasoningMs ? reasoningMs / 1000 : isTimed ? seconds : 0;
			const whole = Math.max(1, Math.round(took));
			summary.textContent = took ? t("Thought for {seconds} s", { seconds: whole }) : t("Thoughts");
			fold(false);
		},
	};
};
