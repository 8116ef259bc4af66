/**
 * Asks an agent something in a conversation of its own, which is erased afterwards.
 *
 * The conversation is archived at once, so it does not appear in anybody's list meanwhile.
 *
 * @import { ApiClient } from "../server/api.js"
 * @import { Announce } from "../ui/feedback.js"
 *
 * @typedef {{ api: ApiClient, companyId: string, announce: Announce }} TrialContext
 */

import { t } from "../base/language.js";
import { createMessageContent } from "../message/message-content.js";
import { idempotencyKey } from "../server/api.js";
import { failureText } from "../server/explanations.js";
import { openStream } from "../stream/answer-stream.js";
import { button, element, fitHeight } from "../ui/dom.js";
import { describe, problem } from "../ui/feedback.js";
import { isSendKey } from "../ui/send-key.js";

/**
 * @param {TrialContext} context
 * @param {() => Promise<Api.Agent | null>} save stores unsaved changes; null: that was refused
 */
export const createTrial = ({ api, companyId, announce }, save) => {
	/** Ends the trial that is under way. @type {(() => void) | null} */
	let end = null;

	const box = element("textarea", { rows: 1, dir: "auto", placeholder: t("Ask it something") });
	box.ariaLabel = t("Try it");
	const ask = element("button", { class: "button" });
	const stop = button(t("Stop"), () => {
		close();
		status.textContent = t("Stopped");
	});
	const status = element("p", { class: "agent-note", role: "status" });
	const content = createMessageContent({
		announce,
		render: async (text, headings, signal) => (await api.render(companyId, { text, headings }, signal)).blocks,
	});
	const answer = element("div", { class: "trial-answer", role: "region", "aria-label": t("Answer"), tabindex: 0 });
	answer.append(content.element);
	const trouble = element("div");
	const form = element(
		"form",
		{ class: "trial" },
		element("h3", {}, t("Try it")),
		element("div", { class: "trial-row" }, box, ask, stop),
		status,
		trouble,
		answer,
	);

	/** @param {boolean} isRunning */
	const setRunning = (isRunning) => {
		const hadFocus = [ask, stop].some((one) => one === document.activeElement);
		ask.hidden = isRunning;
		stop.hidden = !isRunning;
		answer.ariaBusy = `${isRunning}`;
		if (hadFocus) (isRunning ? stop : ask).focus();
	};

	const close = () => {
		end?.();
		content.stop();
	};

	/** @param {string} text */
	const showTrouble = (text) => {
		status.textContent = "";
		trouble.replaceChildren(problem(text));
		trouble.scrollIntoView({ block: "nearest" });
	};

	/** @param {Api.Agent} agent @param {string} text */
	const run = async (agent, text) => {
		const abort = new AbortController();
		const { signal } = abort;
		/** @type {string | null} */
		let id = null;
		/** @type {{ close(): void } | null} */
		let stream = null;
		let isErased = false;

		const erase = () => {
			if (!id || isErased) return;
			isErased = true;
			api.eraseConversation(id).catch(() => {}); // It stays in the archive, under a name that says what it is.
		};
		const finish = () => {
			abort.abort();
			stream?.close();
			erase();
			removeEventListener("pagehide", finish);
			if (end !== finish) return;
			end = null;
			setRunning(false);
		};
		end = finish;
		addEventListener("pagehide", finish);
		setRunning(true);
		status.textContent = t("{name} is asked …", { name: agent.name });

		let isDue = false;
		const paint = () => {
			isDue = false;
			if (signal.aborted || !said) return;
			answer.hidden = false;
			content.showProgress(said);
			answer.scrollTop = answer.scrollHeight;
			answer.scrollIntoView({ block: "nearest" });
		};

		/** @param {Api.StreamEvent} event */
		const take = (event) => {
			if (event.type === "token") {
				said += event.content;
				status.textContent = "";
				if (!isDue) requestAnimationFrame(paint);
				isDue = true;
			} else if (event.type === "reasoning") status.textContent ||= t("Thinking …");
			else if (event.type === "reset") said = "";
			else void conclude(event);
		};

		/** @param {Api.StreamEvent} event */
		const conclude = async (event) => {
			stream?.close();
			paint();
			if (event.type === "done") {
				const { items } = await api.listMessages(id ?? "", { limit: 1 }, signal).catch(() => ({ items: [] }));
				const html = items[0]?.html;
				if (html && !signal.aborted) content.showHtml(html);
				answer.scrollIntoView({ block: "nearest" });
				if (!signal.aborted) announce(`${agent.name}: ${said}`);
				if (!said) status.textContent = t("The answer is empty.");
			} else if (event.type === "error") showTrouble(failureText(event));
			finish();
		};

		let said = "";
		try {
			const conversation = await api.createConversation(companyId, {
				title: t("Trial of {name}", { name: agent.name }).slice(0, 200),
				agentId: agent.id,
			});
			id = conversation.id;
			if (signal.aborted) return erase();
			await api.act(id, "archive");
			const message = await api.addMessage(id, { content: text }, idempotencyKey());
			if (signal.aborted) return;
			stream = openStream(api, { conversationId: id, trigger: message.id }, null, {
				onEvent: take,
				onConnection: () => {},
				onGone: finish,
				onRefused(error) {
					showTrouble(describe(error));
					finish();
				},
			});
		} catch (error) {
			if (signal.aborted) return;
			showTrouble(describe(error));
			finish();
		}
	};

	form.addEventListener("submit", async (event) => {
		event.preventDefault();
		const text = box.value;
		if (end || ask.disabled) return;
		if (!text.trim()) return box.focus();
		ask.disabled = true;
		trouble.replaceChildren();
		status.textContent = "";
		answer.hidden = true;
		content.stop();
		const agent = await save();
		ask.disabled = false;
		if (!agent || !form.isConnected) return;
		form.scrollIntoView({ block: "end" });
		void run(agent, text);
	});
	box.addEventListener("input", () => fitHeight(box));
	box.addEventListener("keydown", (event) => {
		if (!isSendKey(event)) return;
		event.preventDefault();
		form.requestSubmit();
	});
	answer.hidden = true;
	setRunning(false);

	return {
		element: form,
		/** @param {boolean} isUnsaved the agent is saved before it is tried */
		setUnsaved: (isUnsaved) => (ask.textContent = isUnsaved ? t("Save and try") : t("Try")),
		/** Stops the answer, and erases what was asked. */
		close,
	};
};
