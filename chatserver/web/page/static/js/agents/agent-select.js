/**
 * The combo box below the text box: the agent of the conversation, or one for the next message only.
 *
 * @import { Agents } from "../company/agents.js"
 * @import { Announce } from "../ui/feedback.js"
 * @import { AgentOptions } from "./agent-options.js"
 *
 * @typedef {ReturnType<typeof createAgentSelect>} AgentSelect
 */

import { t } from "../base/language.js";
import { button, element } from "../ui/dom.js";
import { icon } from "../ui/icons.js";
import { onDemand } from "../ui/on-demand.js";

const loadOptions = onDemand(() => import("./agent-options.js"));

/**
 * @param {HTMLButtonElement} box
 * @param {{ agents: Agents, announce: Announce }} context
 * @param {object} handlers
 * @param {(agentId: string | null) => void} handlers.onChange the conversation's agent was chosen; null: the default
 * @param {() => void} handlers.onShow another agent is shown
 * @param {() => void} handlers.onOpen the list is opened
 * @param {(() => void) | null} handlers.onManage null: who is here may not
 * @param {(error: unknown) => void} handlers.onError
 */
export const createAgentSelect = (box, { agents, announce }, { onChange, onShow, onOpen, onManage, onError }) => {
	/** @type {string | null} */
	let agentId = null;
	/** The agent for the next message only. @type {string | null} */
	let onceId = null;
	/** @type {AgentOptions | undefined} */
	let options;

	const name = element("span", { class: "agent-name", dir: "auto" });
	const once = button(t("Next message only"), () => choose(agentId, false), "agent-once");
	once.title = once.ariaLabel = t("Next message only: undo");
	once.append(icon("close"));
	box.append(name, icon("chevron"));
	box.after(once);

	/** Whose answer comes next. */
	const next = () => onceId ?? agentId;

	const paint = () => {
		const id = next();
		const text = agents.nameOf(id);
		box.value = id ?? "";
		if (name.textContent !== text) name.textContent = text;
		if (once.contains(document.activeElement) && !onceId) box.focus();
		once.hidden = onceId === null;
		options?.refresh();
		onShow();
	};

	/** @param {string | null} id @param {boolean} isOnce for the next message only */
	const choose = (id, isOnce) => {
		const before = agentId;
		onceId = isOnce && id !== agentId ? id : null;
		if (!isOnce) agentId = id;
		paint();
		if (agentId !== before) onChange(agentId);
		const values = { name: agents.nameOf(next()) };
		announce(onceId ? t("{name} answers the next message only", values) : t("{name} answers", values));
	};

	const load = async () => {
		const { createAgentOptions } = await loadOptions();
		const current = () => ({ agentId, onceId });
		return (options ??= createAgentOptions(box, agents, { current, onChoose: choose, onManage }));
	};

	/** Once loaded, it opens at once: the next key is meant for the list. @param {string} [typed] the key that opens it */
	const open = (typed) => {
		onOpen();
		if (options) options.open(typed);
		else load().then((loaded) => loaded.open(typed)).catch(onError);
	};

	// A press beside the list closes it, also one on the box; the click that follows must not open it again.
	let wasOpen = false;
	box.addEventListener("pointerdown", () => (wasOpen = Boolean(options?.isOpen())));
	box.addEventListener("click", () => {
		if (wasOpen) options?.close();
		else open();
		wasOpen = false;
	});
	box.addEventListener("keydown", (event) => {
		const { key, ctrlKey, metaKey, altKey } = event;
		const isLetter = key.length === 1 && key !== " " && !ctrlKey && !metaKey && !altKey;
		if (!isLetter && key !== "ArrowDown" && key !== "ArrowUp") return;
		event.preventDefault();
		open(isLetter ? key : "");
	});

	return {
		/** Shows the conversation's agent; null: the default one. @param {string | null} id */
		show(id) {
			agentId = id;
			if (onceId === id) onceId = null;
			paint();
		},
		choose,
		open: () => open(),
		/** The agent that was chosen for the next message only. */
		once: () => onceId,
		/** The agent that was chosen for the conversation. */
		chosen: () => agentId,
		next,
		clearOnce() {
			onceId = null;
			paint();
		},
	};
};
