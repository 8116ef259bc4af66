/**
 * The dialog in which agents are listed, made, changed and removed.
 *
 * @import { TrialContext } from "./agent-trial.js"
 * @import { Agents } from "../company/agents.js"
 * @import { Providers } from "../company/providers.js"
 */

import { t } from "../base/language.js";
import { button, element } from "../ui/dom.js";
import { icon, iconButton } from "../ui/icons.js";
import { createAgentForm } from "./agent-form.js";

/** @param {TrialContext & { agents: Agents, providers: Providers }} context */
export const createAgentsDialog = (context) => {
	const { agents, announce } = context;
	/** The form that is shown in place of the list. @type {ReturnType<typeof createAgentForm> | null} */
	let form = null;

	const heading = element("h2", { id: "agents-title" });
	const back = iconButton(t("Back to the agents"), "back", () => leave(() => showList(form?.id())));
	back.classList.add("back");
	const close = iconButton(t("Close"), "close", () => leave(finish));
	const body = element("div", { class: "agents-body" });
	const dialog = element(
		"dialog",
		{ class: "agents-dialog", "aria-labelledby": heading.id },
		element("div", { class: "agents-head" }, back, heading, close),
		body,
	);

	const finish = () => {
		dropForm();
		dialog.close();
	};

	const dropForm = () => {
		form?.close();
		form = null;
	};

	/** Goes elsewhere; first asks what shall happen to unsaved changes. @param {() => void} then */
	const leave = (then) => {
		if (form?.isChanged()) form.askToDiscard(then);
		else then();
	};

	/** @param {string} title @param {...HTMLElement} content */
	const show = (title, ...content) => {
		heading.textContent = title;
		back.hidden = form === null;
		body.replaceChildren(...content);
	};

	/** @param {string[]} agent its id and name */
	const row = ([id, agentName]) => {
		const name = element("span", { class: "agent-name", dir: "auto" }, agentName);
		const note = element("span", { class: "agent-note", dir: "auto" }, agents.noteOn(id));
		const click = () => showForm(agents.find(id));
		const open = element("button", { type: "button", class: "agent-row", click }, name, " ", note);
		open.append(icon("edit"));
		open.value = id;
		return element("li", {}, open);
	};

	/** @param {string | null} [id] of the agent that gets the focus */
	const showList = (id) => {
		dropForm();
		const create = button(t("New agent"), () => showForm(null), "button primary");
		const rows = agents.all().map(row);
		const hint = element(
			"p",
			{ class: "agents-hint" },
			t("An agent is a model with a name and instructions of its own, for example a translator or a reviewer."),
		);
		const foot = element("div", { class: "agents-foot" }, create);
		show(t("Agents"), element("div", { class: "agents-scroll" }, hint, element("ul", {}, ...rows)), foot);
		const again = [...body.querySelectorAll("button")].find((one) => one.value && one.value === id);
		(again ?? create).focus();
	};

	/** @param {Api.Agent | null} agent null: a new one */
	const showForm = (agent) => {
		dropForm();
		form = createAgentForm(context, agent, {
			onLeave: () => leave(() => showList(form?.id())),
			onSaved(saved) {
				announce(t("{name} is saved", { name: saved.name }));
				showList(saved.id);
			},
			onRemoved({ name }) {
				announce(t("{name} is removed", { name }));
				showList();
			},
			onNamed: (name) => (heading.textContent = name),
		});
		show(agent ? agent.name : t("New agent"), ...form.elements);
		form.focus();
	};

	const escape = () => {
		if (!form?.stopAsking()) leave(finish);
	};
	// Also without `cancel`, which browsers do not wait for at the second Escape.
	dialog.addEventListener("keydown", (event) => {
		if (event.key !== "Escape" || event.isComposing) return;
		event.preventDefault();
		escape();
	});
	dialog.addEventListener("cancel", (event) => {
		event.preventDefault();
		escape();
	});
	dialog.addEventListener("close", () => form?.stopTrial());
	addEventListener("beforeunload", (event) => {
		if (dialog.open && form?.isChanged()) event.preventDefault();
	});
	document.body.append(dialog);

	return {
		/** @param {"list" | "new"} [what] */
		open(what = "list") {
			dialog.showModal();
			if (form?.isChanged()) form.focus(); // The browser closed the dialog by itself.
			else if (what === "new") showForm(null);
			else showList();
		},
		/** Agents have changed. */
		refresh() {
			if (!dialog.open || form) return;
			const focused = document.activeElement;
			showList(focused instanceof HTMLButtonElement ? focused.value : null);
		},
	};
};
