/** The page of help: who answers now, and a button that copies for each command. */

import { t } from "../base/language.js";
import { createApi } from "../server/api.js";
import { copyButton } from "../ui/clipboard.js";
import { element } from "../ui/dom.js";
import { createAnnouncer } from "../ui/feedback.js";

/** @param {string} id */
const part = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {Api.Providers} providers */
function whoAnswers({ items, default: name }) {
	const provider = items.find((one) => one.name === name);
	if (provider && provider.kind !== "echo") return t("{model} answers now.", { model: provider.model ?? provider.name });
	const isConnected = items.some(({ kind }) => kind !== "echo");
	if (isConnected) return t("Agents answer with their models; without an agent, Echo answers.");
	return t("Echo: no model is connected yet.");
}

const announce = createAnnouncer(part("announcer"));
for (const command of document.querySelectorAll("pre")) {
	const box = element("div", { class: "command" });
	command.replaceWith(box);
	// A command that is wider than the page can be scrolled by keyboard.
	command.tabIndex = 0;
	box.append(command, copyButton(t("Copy"), () => command.textContent, announce));
}

createApi()
	.listProviders()
	.then((providers) => {
		part("answering").textContent = whoAnswers(providers);
		part("answering").hidden = false;
	})
	.catch(() => {}); // Nobody is signed in, or the server is being started anew: the rest of the page is of use.
