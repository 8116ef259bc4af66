/**
 * Shows and hides the sidebar. On narrow screens it is a drawer over the thread; on wide ones it can be collapsed, and
 * the browser remembers that. The same button of the header brings it back on both.
 */

import { t } from "../base/language.js";
import { recall, remember } from "../base/storage.js";
import { icon } from "./icons.js";

const NARROW = "(width <= 50rem)";
const COLLAPSED = "sidebar collapsed";

/** @param {PageParts} parts @returns {() => void} closes the drawer */
export const createDrawer = ({ sidebar, thread, backdrop, drawerOpen, drawerClose }) => {
	const narrow = matchMedia(NARROW);
	let isOpen = false;
	let isCollapsed = recall(COLLAPSED) !== "";

	const show = () => {
		const isDrawer = narrow.matches;
		sidebar.classList.toggle("open", isOpen);
		document.body.classList.toggle("collapsed", isCollapsed && !isDrawer);
		thread.inert = isOpen;
		backdrop.hidden = !isOpen;
		drawerOpen.setAttribute("aria-expanded", `${isDrawer ? isOpen : !isCollapsed}`);
		drawerClose.title = isDrawer ? t("Close") : t("Hide the sidebar");
		drawerClose.setAttribute("aria-label", drawerClose.title);
		drawerClose.replaceChildren(icon(isDrawer ? "close" : "sidebar"));
	};

	/** @param {boolean} open */
	const set = (open) => {
		if (narrow.matches) isOpen = open;
		else {
			isCollapsed = !open;
			remember(COLLAPSED, isCollapsed ? "yes" : "");
		}
		show();
		(open ? drawerClose : drawerOpen).focus();
	};

	const closeDrawer = () => {
		if (isOpen) set(false);
	};

	drawerOpen.append(icon("menu"));
	drawerOpen.addEventListener("click", () => set(true));
	drawerClose.addEventListener("click", () => set(false));
	backdrop.addEventListener("click", closeDrawer);
	sidebar.addEventListener("keydown", ({ key }) => key === "Escape" && closeDrawer());
	narrow.addEventListener("change", () => {
		isOpen = false;
		show();
	});
	show();
	return closeDrawer;
};
