/**
 * The form of one agent, and the field in which it is tried.
 *
 * @import { Agents } from "../company/agents.js"
 * @import { Providers } from "../company/providers.js"
 * @import { TrialContext } from "./agent-trial.js"
 */

import { t } from "../base/language.js";
import { configOf } from "../company/agents.js";
import { ApiError } from "../server/api.js";
import { button, element, fitHeight } from "../ui/dom.js";
import { describe, problem } from "../ui/feedback.js";
import { createField } from "./agent-fields.js";
import { createTrial } from "./agent-trial.js";

/** As the server takes it. */
const MOST_TOKENS = 10_000_000;

/** A number as people write it. The server says what is wrong with everything else. @param {string} text */
const numberOf = (text) => {
	const number = Number(text.trim().replace(",", "."));
	return /** @type {number | null} */ (text.trim() ? (Number.isNaN(number) ? text : number) : null);
};

/**
 * @param {TrialContext & { agents: Agents, providers: Providers }} context
 * @param {Api.Agent | null} agent null: a new one
 * @param {object} handlers
 * @param {() => void} handlers.onLeave
 * @param {(agent: Api.Agent) => void} handlers.onSaved
 * @param {(agent: Api.Agent) => void} handlers.onRemoved
 * @param {(name: string) => void} handlers.onNamed it was saved, and the form stays
 */
export const createAgentForm = (context, agent, { onLeave, onSaved, onRemoved, onNamed }) => {
	const { agents, providers } = context;
	const config = configOf(agent);
	let isSaving = false;

	// What can be filled in

	const given = agent ? (config.provider ?? "") : (providers.preferred()?.name ?? "");
	const names = providers.all().map(({ name }) => name);
	if (given && !names.includes(given)) names.push(given);
	const nameInput = element("input", { maxlength: 200, autocomplete: "off", dir: "auto", value: agent?.name ?? "" });
	const providerInput = element("select", {}, ...names.map((name) => element("option", { value: name }, labelOf(name))));
	const modelInput = element("input", { maxlength: 200, autocomplete: "off", spellcheck: "false", value: config.model });
	const promptInput = element("textarea", { rows: 4, dir: "auto" });
	const temperatureInput = element("input", { inputmode: "decimal", autocomplete: "off", value: config.temperature });
	const longestInput = element("input", { inputmode: "numeric", autocomplete: "off", value: config.maxTokens });
	providerInput.append(element("option", { value: "" }, t("Echo (repeats what you write)")));
	providerInput.value = given;
	promptInput.value = config.systemPrompt ?? "";

	/** @param {string} name of a provider */
	function labelOf(name) {
		const provider = providers.find(name);
		if (!provider) return t("{name} (not connected any more)", { name });
		return provider.model ? t("{name} ({model})", { name, model: provider.model }) : name;
	}

	const nameField = createField("name", t("Name"), nameInput);
	const providerField = createField("adapterConfig.provider", t("Answers come from"), providerInput);
	const modelField = createField("adapterConfig.model", t("Model"), modelInput);
	const promptField = createField(
		"adapterConfig.systemPrompt",
		t("Instructions (system prompt)"),
		promptInput,
		t("What it is, what it does, and how it writes."),
	);
	const temperatureField = createField(
		"adapterConfig.temperature",
		t("Temperature"),
		temperatureInput,
		t("0 to 2: low is exact, high is inventive. Empty: the model decides."),
		t("A number from 0 to 2."),
	);
	const longestField = createField(
		"adapterConfig.maxTokens",
		t("Longest answer"),
		longestInput,
		t("In tokens: a word is one or two. Empty: the model decides."),
		t("A whole number from 1 to {most}.", { most: MOST_TOKENS }),
	);
	const fields = [nameField, providerField, modelField, promptField, temperatureField, longestField];
	const connect = element("p", { class: "field-hint" }, t("No model is connected yet."), " ");
	connect.append(element("a", { href: "/help", target: "_blank" }, t("How to connect a model")));
	connect.hidden = providers.haveModel();
	const forModels = element(
		"div",
		{ class: "fields" },
		modelField.element,
		promptField.element,
		element("div", { class: "field-pair" }, temperatureField.element, longestField.element),
	);
	const trouble = element("div");
	const form = element(
		"form",
		{ id: "agent-form", class: "fields", novalidate: true },
		nameField.element,
		providerField.element,
		connect,
		forModels,
		trouble,
	);

	const bodyOf = () => {
		const provider = providerInput.value;
		/** @type {Api.LlmConfig} */
		const llm = {
			provider,
			model: modelInput.value.trim() || null,
			systemPrompt: promptInput.value.trim() ? promptInput.value : null,
			temperature: numberOf(temperatureInput.value),
			maxTokens: numberOf(longestInput.value),
		};
		/** @type {Api.CreateAgent} */
		const body = provider
			? { name: nameInput.value.trim(), adapterType: "llm", adapterConfig: llm }
			: { name: nameInput.value.trim(), adapterType: "echo", adapterConfig: null };
		return body;
	};
	let stored = JSON.stringify(bodyOf());
	const isChanged = () => JSON.stringify(bodyOf()) !== stored;

	const adapt = () => {
		forModels.hidden = !providerInput.value;
		modelInput.placeholder = providers.find(providerInput.value)?.model ?? "";
		trial.setUnsaved(isChanged() || !agent);
	};

	// Saving

	/** @param {unknown} error */
	const showError = (error) => {
		const details = error instanceof ApiError ? error.details : [];
		const wrong = fields.filter((field) => field.showErrors(details));
		const isElsewhere = !details.length || details.some(({ path }) => !fields.some((field) => field.path === path));
		if (isElsewhere) trouble.replaceChildren(problem(describe(error)));
		if (wrong[0]) wrong[0].focus();
		else trouble.scrollIntoView({ block: "nearest" });
	};

	/** @returns {Promise<Api.Agent | null>} null: it was refused, and the form says why */
	const save = async () => {
		if (isSaving) return null;
		isSaving = submit.disabled = true;
		trouble.replaceChildren();
		fields.forEach((field) => field.showErrors([]));
		try {
			const body = bodyOf();
			agent = agent ? await agents.update(agent, body) : await agents.create(body);
			stored = JSON.stringify(body);
			remove.hidden = false;
			return agent;
		} catch (error) {
			if (agent && error instanceof ApiError && error.status === 404) {
				agent = null;
				remove.hidden = true;
				trouble.replaceChildren(problem(t("Somebody removed this agent meanwhile. Save it again to make it anew.")));
			} else showError(error);
			return null;
		} finally {
			isSaving = submit.disabled = false;
			adapt();
		}
	};

	const trial = createTrial(context, async () => {
		const saved = agent && !isChanged() ? agent : await save();
		if (saved) onNamed(saved.name);
		return saved;
	});

	// Buttons, and what they ask first

	const submit = element("button", { class: "button primary", form: form.id }, t("Save"));
	const cancel = button(t("Cancel"), onLeave);
	const remove = button(t("Remove…"), () => askToRemove(), "button danger");
	remove.hidden = agent === null;
	const foot = element("div", { class: "agents-foot" }, remove, cancel, submit);
	/** Where the focus was before the buttons made room for a question. @type {HTMLElement | null} */
	let asker = null;

	/** Returns whether a question was shown. */
	const stopAsking = () => {
		if (!asker) return false;
		foot.replaceChildren(remove, cancel, submit);
		asker.focus();
		asker = null;
		return true;
	};

	/** Asks in place of the buttons. @param {string} text @param {string} no @param {HTMLButtonElement} yes */
	const ask = (text, no, yes) => {
		asker = document.activeElement instanceof HTMLElement ? document.activeElement : nameInput;
		const keep = button(no, stopAsking);
		foot.replaceChildren(element("p", { role: "alert", dir: "auto" }, text), keep, yes);
		keep.focus();
	};

	const askToRemove = () => {
		if (!agent) return;
		const removed = agent;
		const yes = button(
			t("Remove"),
			async () => {
				yes.disabled = true;
				try {
					await agents.remove(removed);
				} catch (error) {
					if (!(error instanceof ApiError && error.status === 404)) {
						stopAsking();
						return showError(error);
					}
				}
				stored = JSON.stringify(bodyOf());
				onRemoved(removed);
			},
			"button danger",
		);
		const text = [
			t("Remove {name}?", { name: removed.name }),
			t("Its conversations stay; from now on {name} answers them.", { name: agents.nameOf(null) }),
			t("Old answers keep its name."),
		];
		ask(text.join(" "), t("Keep it"), yes);
	};

	form.addEventListener("submit", async (event) => {
		event.preventDefault();
		const saved = await save();
		if (saved && !isChanged()) onSaved(saved);
	});
	form.addEventListener("input", adapt);
	promptInput.addEventListener("input", () => fitHeight(promptInput));
	adapt();

	return {
		elements: [element("div", { class: "agents-scroll" }, form, trial.element), foot],
		/** Of the agent; null: it is not stored yet. */
		id: () => agent?.id ?? null,
		isChanged,
		stopAsking,
		/** @param {() => void} then */
		askToDiscard(then) {
			const yes = button(t("Discard"), then, "button danger");
			ask(t("Your changes are not saved."), t("Keep editing"), yes);
		},
		focus() {
			fitHeight(promptInput);
			nameInput.focus();
		},
		stopTrial: trial.close,
		close: trial.close,
	};
};
