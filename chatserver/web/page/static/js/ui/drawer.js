/** On narrow screens the sidebar is a drawer over the thread. */

import { icon } from "./icons.js";

const NARROW = "(width <= 50rem)";

/** @param {PageParts} parts @returns {() => void} closes the drawer */
export const createDrawer = ({ sidebar, thread, backdrop, drawerOpen, drawerClose }) => {
	const narrow = matchMedia(NARROW);
	let isOpen = false;

	/** @param {boolean} open */
	const set = (open) => {
		isOpen = open && narrow.matches;
		sidebar.classList.toggle("open", isOpen);
		thread.inert = isOpen;
		backdrop.hidden = !isOpen;
		drawerOpen.setAttribute("aria-expanded", `${isOpen}`);
		if (isOpen) drawerClose.focus();
	};

	const close = () => {
		if (!isOpen) return;
		set(false);
		drawerOpen.focus();
	};

	drawerOpen.append(icon("menu"));
	drawerClose.append(icon("close"));
	drawerOpen.addEventListener("click", () => set(true));
	drawerClose.addEventListener("click", close);
	backdrop.addEventListener("click", close);
	sidebar.addEventListener("keydown", ({ key }) => key === "Escape" && close());
	narrow.addEventListener("change", () => set(false));
	set(false);
	return close;
};
