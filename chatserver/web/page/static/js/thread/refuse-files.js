/** Files that are dropped on the page or pasted: it says that it cannot take them, and no file replaces the page. */

import { t } from "../base/language.js";
import { problem } from "../ui/feedback.js";

/** @param {(alert: HTMLElement) => void} show */
export const refuseFiles = (show) => {
	const tell = () => show(problem(t("Files are not supported yet. You can paste their text.")));

	/** Without this, the browser would leave the page and open the file. @param {DragEvent} event */
	const onDrag = (event) => {
		if (!event.dataTransfer?.types.includes("Files")) return;
		event.preventDefault();
		if (event.type === "drop") tell();
	};
	for (const type of /** @type {const} */ (["dragenter", "dragover", "drop"])) addEventListener(type, onDrag);

	addEventListener("paste", (event) => {
		const data = event.clipboardData;
		// Word processors and spreadsheets add a picture of what was copied; its text is what people want.
		if (!data?.files.length || data.types.includes("text/plain")) return;
		event.preventDefault();
		tell();
	});
};
