/** What the page says to those who may only read. */

import { t } from "../base/language.js";
import { button } from "../ui/dom.js";

/** Instead of what a new conversation offers. @param {PageParts} parts */
export function greetReader({ greetingTitle, offers, drawerOpen, skip }) {
	skip.textContent = t("Skip to the messages");
	greetingTitle.textContent = t("Choose a conversation to read");
	// Where the list is a drawer.
	offers.replaceChildren(button(t("Conversations"), () => drawerOpen.click(), "button to-list"));
}
