/** The page's icons: line drawings on a 24 by 24 grid, in the colour of the text around them. */

import { element } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
	plus: "M12 5v14M5 12h14",
	close: "M6 6l12 12M18 6L6 18",
	sidebar: "M6 4.5h12a2 2 0 0 1 2 2v11a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2v-11a2 2 0 0 1 2-2zM9.5 4.5v15",
	menu: "M4 7h16M4 12h16M4 17h10",
	more: "M5 11.5h1v1H5zM11.5 11.5h1v1h-1zM18 11.5h1v1h-1z",
	send: "M12 19V6M6.5 11.5L12 6l5.5 5.5",
	stop: "M7 7h10v10H7z",
	chevron: "M7 10l5 5 5-5",
	back: "M14 6l-6 6 6 6",
	previous: "M14 6.5L8.5 12l5.5 5.5",
	next: "M10 6.5l5.5 5.5L10 17.5",
	agent: "M5 10h14v9H5zM12 6v4M12 6a1 1 0 1 0 0-2a1 1 0 1 0 0 2M9 14v1M15 14v1",
	down: "M12 5v13M6.5 12.5L12 18l5.5-5.5",
	copy: "M9 9h10v10H9zM15 9V5H5v10h4",
	check: "M5 12.5l4.5 4.5L19 7.5",
	edit: "M5 19l.8-3.8L16 5l3 3L8.8 18.2zM14 7l3 3",
	branch:
		"M7 8v8M17 10v1a3 3 0 0 1-3 3H9.5A2.5 2.5 0 0 0 7 16.5" +
		"M5 6a2 2 0 1 0 4 0a2 2 0 1 0-4 0M5 18a2 2 0 1 0 4 0a2 2 0 1 0-4 0M15 8a2 2 0 1 0 4 0a2 2 0 1 0-4 0",
	bookmark: "M8 5h8v14l-4-3.5L8 19z",
	wrap: "M4 6h16M4 12h13a3 3 0 0 1 0 6h-4M15 15.5L12.5 18l2.5 2.5M4 18h4",
	settings: "M4 8h8M18 8h2M12 8a3 3 0 1 0 6 0a3 3 0 1 0-6 0M4 16h2M12 16h8M6 16a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
	again: "M19 12a7 7 0 1 1-2.2-5.1M19 4v4h-4",
};

/** A decoration: the element around it needs an accessible name. @param {keyof typeof PATHS} name */
export function icon(name) {
	const svg = document.createElementNS(SVG, "svg");
	svg.setAttribute("viewBox", "0 0 24 24");
	svg.setAttribute("aria-hidden", "true");
	svg.setAttribute("class", "icon");
	svg.append(document.createElementNS(SVG, "path"));
	svg.firstElementChild?.setAttribute("d", PATHS[name]);
	return svg;
}

/** @param {string} name @param {keyof typeof PATHS} picture @param {() => void} click */
export function iconButton(name, picture, click) {
	const attributes = { type: "button", class: "icon-button", "aria-label": name, title: name, click };
	return element("button", attributes, icon(picture));
}
