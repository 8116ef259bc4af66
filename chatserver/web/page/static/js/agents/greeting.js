/**
 * What a new conversation shows instead of messages: who will answer, agents to choose from, and first questions.
 *
 * @import { Agents } from "../company/agents.js"
 * @import { Providers } from "../company/providers.js"
 * @import { AgentSelect } from "./agent-select.js"
 */

import { t } from "../base/language.js";
import { button, element } from "../ui/dom.js";
import { icon } from "../ui/icons.js";

/** More are found in the list. */
const MOST_CARDS = 6;

/** What a button says, and what it writes into the text box. */
const questions = () => [
	{ label: t("What can you do?"), text: t("What can you do?") },
	{ label: t("Explain something"), text: t("Explain in simple words: ") },
	{ label: t("Write an email"), text: t("Write a short, friendly email that says: ") },
	{ label: t("Summarise a text"), text: `${t("Summarise this text in three sentences:")}\n\n` },
];

/**
 * Returns a function that shows it anew. Before agents and models are known it shows nothing, then all in one step.
 *
 * @param {PageParts} parts
 * @param {{ agents: Agents, providers: Providers, agentSelect: AgentSelect }} context
 * @param {(() => void) | null} onNewAgent null: who is here may not make one
 */
export const createGreeting = ({ offers, message: box }, { agents, providers, agentSelect }, onNewAgent) => {
	let shown = "";

	const help = () => element("a", { href: "/help" }, t("How to connect a model"));

	/** Who will answer. @param {string | null} id */
	const who = (id) => {
		const note = agents.noteOn(id);
		if (id === null && !providers.haveModel()) {
			return element("p", { class: "who" }, t("Echo: no model is connected yet."), " ", help());
		}
		const values = { name: agents.nameOf(id) };
		const isOnce = id !== agentSelect.chosen();
		const name = isOnce ? t("{name} will answer the first message", values) : t("{name} will answer", values);
		const line = element("p", { class: "who" }, element("strong", {}, name));
		// The name of the model says it.
		if (id === null && providers.modelAnswers()) return line;
		line.append(element("span", { class: "who-note" }, element("span", {}, " · "), element("bdi", {}, note)));
		return line;
	};

	/** @param {string | null} id @param {boolean} isChosen */
	const card = (id, isChosen) => {
		const node = button("", () => agentSelect.choose(id, false), "card");
		node.append(
			element("span", { class: "agent-name", dir: "auto" }, agents.nameOf(id)),
			element("span", { class: "agent-note", dir: "auto" }, agents.noteOn(id)),
		);
		if (isChosen) node.append(icon("check"));
		node.setAttribute("aria-pressed", `${isChosen}`);
		node.value = id ?? "";
		return node;
	};

	/** @param {string} text */
	const write = (text) => {
		const isOwn = questions().some((question) => question.text === box.value);
		box.value = isOwn || !box.value.trim() ? text : `${box.value}\n\n${text}`;
		box.focus();
		box.setSelectionRange(box.value.length, box.value.length);
		box.dispatchEvent(new Event("input", { bubbles: true })); // So it is a draft, as if it had been typed.
	};

	const cards = () => {
		const all = [null, ...agents.all().map(([id]) => id)];
		if (all.length === 1) return [];
		const chosen = agentSelect.chosen();
		const few = all.slice(0, MOST_CARDS);
		if (chosen && !few.includes(chosen) && agents.find(chosen)) few[few.length - 1] = chosen;
		const group = element(
			"div",
			{ class: "cards", role: "group", "aria-label": t("Agents") },
			...few.map((id) => card(id, id === chosen)),
		);
		const more = all.length > few.length && button(t("All agents…"), () => agentSelect.open(), "quiet-button");
		return more ? [group, more] : [group];
	};

	const chips = () =>
		element(
			"div",
			{ class: "chips", role: "group", "aria-label": t("First questions") },
			...questions().map(({ label, text }) => button(label, () => write(text), "chip")),
		);

	return () => {
		if (!agents.isLoaded()) return;
		const everyone = agents.all().map(([id, name]) => [id, name, agents.noteOn(id)]);
		const now = JSON.stringify([everyone, agents.nameOf(null), agentSelect.chosen(), agentSelect.next()]);
		if (now === shown) return;
		shown = now;
		const focused = document.activeElement;
		const value = focused instanceof HTMLButtonElement && offers.contains(focused) ? focused.value : null;
		const offered = cards();
		if (!offered.length && providers.haveModel() && onNewAgent) {
			offered.push(button(t("Make an agent…"), onNewAgent, "quiet-button"));
		}
		offers.replaceChildren(who(agentSelect.next()), ...offered, chips());
		if (value !== null) {
			const again = [...offers.querySelectorAll("button")].find((one) => one.value === value);
			again?.focus();
		}
	};
};
