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
 * @param {() => void} handlers.onManage
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

	/** @param {string} [typed] the key that opened the list */
	const open = async (typed) => {
		onOpen();
		const { createAgentOptions } = await loadOptions();
		options ??= createAgentOptions(box, agents, { current: () => ({ agentId, onceId }), onChoose: choose, onManage });
		options.open(typed);
	};

	// A press beside the list closes it, also one on the box; the click that follows must not open it again.
	let wasOpen = false;
	box.addEventListener("pointerdown", () => (wasOpen = Boolean(options?.isOpen())));
	box.addEventListener("click", () => {
		if (wasOpen) options?.close();
		else open().catch(onError);
		wasOpen = false;
	});
	box.addEventListener("keydown", (event) => {
		const { key, ctrlKey, metaKey, altKey } = event;
		const isLetter = key.length === 1 && key !== " " && !ctrlKey && !metaKey && !altKey;
		if (!isLetter && key !== "ArrowDown" && key !== "ArrowUp") return;
		event.preventDefault();
		open(isLetter ? key : "").catch(onError);
	});

	return {
		/** Shows the conversation's agent; null: the default one. @param {string | null} id */
		show(id) {
			agentId = id;
			if (onceId === id) onceId = null;
			paint();
		},
		choose,
		open: () => open().catch(onError),
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
