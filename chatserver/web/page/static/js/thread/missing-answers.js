/**
 * What stands in place of answers that are missing: as much as there was of one that broke off, why there is no answer,
 * and what can be done. Each is found by its trigger, the id of the message without an answer (null: there is no such
 * message).
 *
 * @import { MessageView } from "../message/message-view.js"
 *
 * @typedef {object} Failure
 * @property {string} [code] as in an `error` event; missing: the request for the answer failed
 * @property {string} error a sentence for people
 * @property {boolean} retryable whether asking again may help
 *
 * @typedef {{ content: string, reasoning: string }} Beginning As much of an answer as there was.
 */

import { t } from "../base/language.js";
import { forThisTab, recall, remember } from "../base/storage.js";
import { failureText } from "../server/explanations.js";
import { button, element } from "../ui/dom.js";
import { sentence } from "../ui/feedback.js";

/** The beginning of an answer that broke off is kept over a reload, only of the last one and if it is not longer. */
const MOST_KEPT_CHARACTERS = 200_000;
const KEPT = "broken off";

/** @param {string | null} trigger @returns {Beginning | null} */
function keptBeginning(trigger) {
	try {
		const kept = JSON.parse(recall(KEPT, forThisTab));
		const isKept = kept.trigger === trigger && typeof kept.content + typeof kept.reasoning === "stringstring";
		return isKept ? kept : null;
	} catch {
		return null; // There is none, or another program wrote there.
	}
}

/** What helps where asking again does not. @param {string | undefined} code */
function advice(code) {
	if (code === "unauthorized") return t("Only the operator of this server can change the key.");
	if (code === "refused") return t("The operator of this server can see the reason in its log.");
	if (code === "answer_too_long") return t("Ask for a shorter answer, or for one part at a time.");
	return ""; // The error itself says it.
}

/**
 * @param {object} thread
 * @param {(trigger: string | null) => MessageView} thread.createView for the beginning of an answer
 * @param {boolean} thread.canAsk
 * @param {(trigger: string | null) => void} thread.onRetry
 * @param {(trigger: string, opener: HTMLElement) => void} thread.onOtherAgent
 * @param {(trigger: string) => boolean} thread.hasOtherAgents
 */
export const createMissingAnswers = ({ createView, canAsk, onRetry, onOtherAgent, hasOtherAgents }) => {
	/**
	 * By trigger. `what` names what is shown.
	 *
	 * @type {Map<string | null, { what: string, view: MessageView | null, box: HTMLElement }>}
	 */
	const shown = new Map();
	/** Failures that came while somebody waited for the answer, by trigger. @type {Map<string | null, string>} */
	const alerts = new Map();

	/** @param {string | null} trigger */
	const otherAgent = (trigger) => {
		const opener = button(t("Answer with another agent"), () => trigger && onOtherAgent(trigger, opener));
		opener.setAttribute("aria-haspopup", "menu");
		return opener;
	};

	/** @param {string | null} trigger @param {Failure} failure @param {boolean} isLast */
	const actionsFor = (trigger, { code, retryable }, isLast) => {
		if (!isLast || !canAsk) return [];
		const actions = [];
		if (retryable) actions.push(button(t("Retry"), () => onRetry(trigger)));
		if (code === "prompt_too_long") {
			actions.push(element("a", { class: "button", href: "/" }, t("New conversation")));
		} else if (trigger && hasOtherAgents(trigger)) actions.push(otherAgent(trigger));
		return actions;
	};

	/** The beginning of the answer that this tab has kept. @param {string | null} trigger */
	const restored = (trigger) => {
		const beginning = keptBeginning(trigger);
		if (!beginning) return null;
		const view = createView(trigger);
		view.showProgress({ ...beginning, lastEventId: null });
		view.showBrokenOff(beginning.content);
		return view;
	};

	return {
		/**
		 * The answer that `view` shows broke off: what there is of it stays.
		 *
		 * @param {string | null} trigger
		 * @param {Failure} failure
		 * @param {Beginning | null} beginning
		 * @param {MessageView} view
		 */
		noteBrokenOff(trigger, failure, beginning, view) {
			const hasText = Boolean(beginning?.content || beginning?.reasoning);
			const kept = JSON.stringify({ trigger, ...beginning });
			if (hasText) remember(KEPT, kept.length <= MOST_KEPT_CHARACTERS ? kept : "", forThisTab);
			else if (keptBeginning(trigger)) remember(KEPT, "", forThisTab);
			if (hasText) view.showBrokenOff(beginning?.content ?? "");
			else view.close();
			shown.set(trigger, { what: "", view: hasText ? view : null, box: element("div") });
			alerts.set(trigger, failure.error);
			this.noteFailure(trigger, failure, true);
		},
		/**
		 * There is no answer because it failed.
		 *
		 * @param {string | null} trigger
		 * @param {Failure} failure
		 * @param {boolean} isLast whether nothing follows
		 */
		noteFailure(trigger, failure, isLast) {
			const what = JSON.stringify([failure.error, isLast, isLast && trigger && hasOtherAgents(trigger)]);
			const before = shown.get(trigger);
			if (before?.what === what) return;
			const text = [sentence(failureText(failure)), advice(failure.code)].filter(Boolean).join(" ");
			const style = isLast ? "box alert failed" : "box unanswered";
			const actions = actionsFor(trigger, failure, isLast);
			if (before?.box.className === style && before.box.firstChild?.textContent === text) {
				// Only what can be done is another than before: nobody is told of the failure again.
				before.what = what;
				while (before.box.children.length > 1) before.box.lastElementChild?.remove();
				return before.box.append(...actions);
			}
			const role = isLast && alerts.get(trigger) === failure.error && "alert";
			const box = element("div", { class: style, role }, element("p", { dir: "auto" }, text), ...actions);
			shown.set(trigger, { what, view: before?.view ?? restored(trigger), box });
		},
		/** There is no answer, nobody knows why; or it was stopped. @param {string | null} trigger @param {string} text */
		noteNone(trigger, text) {
			if (shown.has(trigger)) return;
			const box = element("div", { class: "box unanswered" }, element("p", {}, text));
			if (canAsk) box.append(button(t("Retry"), () => onRetry(trigger)));
			shown.set(trigger, { what: "", view: null, box });
		},
		/** @param {string | null} trigger */
		elementsFor(trigger) {
			const found = shown.get(trigger);
			return found && (found.view ? [found.view.element, found.box] : [found.box]);
		},
		/** @param {string | null} trigger */
		forget(trigger) {
			shown.get(trigger)?.view?.close();
			shown.delete(trigger);
		},
		triggers: () => [...shown.keys()],
	};
};
