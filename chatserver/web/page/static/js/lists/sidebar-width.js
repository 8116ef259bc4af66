/** The sidebar's width, which a handle at its edge changes. The browser remembers it. */

import { recall, remember } from "../base/storage.js";

const KEY = "sidebar width";
const LEAST_PIXELS = 200;
const MOST_PIXELS = 480;
const STEP_PIXELS = 16;

/** @param {{ sidebar: HTMLElement, sidebarEdge: HTMLElement }} parts */
export const createSidebarWidth = ({ sidebar, sidebarEdge: edge }) => {
	/** How far the pointer was from the edge when it took the handle. */
	let offset = 0;

	const isRightToLeft = () => getComputedStyle(sidebar).direction === "rtl";

	/** Tells the width as it is, whatever it comes from. */
	const tell = () => edge.setAttribute("aria-valuenow", `${Math.round(sidebar.getBoundingClientRect().width)}`);

	/** @param {number} pixels 0: the usual width */
	const set = (pixels) => {
		const width = pixels && Math.round(Math.min(Math.max(pixels, LEAST_PIXELS), MOST_PIXELS));
		document.documentElement.style.setProperty("--sidebar", width ? `${width}px` : "");
		tell();
		return width;
	};

	/** @param {number} pixels */
	const keep = (pixels) => remember(KEY, `${set(pixels) || ""}`);

	/** The width at which the edge is under the pointer. @param {PointerEvent} event */
	const widthAt = ({ clientX }) => {
		const { left, right } = sidebar.getBoundingClientRect();
		return isRightToLeft() ? right - clientX : clientX - left;
	};

	const width = () => sidebar.getBoundingClientRect().width;

	edge.setAttribute("aria-valuemin", `${LEAST_PIXELS}`);
	edge.setAttribute("aria-valuemax", `${MOST_PIXELS}`);
	edge.addEventListener("pointerdown", (event) => {
		if (event.button) return;
		edge.setPointerCapture(event.pointerId);
		offset = widthAt(event) - width();
	});
	edge.addEventListener("pointermove", (event) => {
		if (edge.hasPointerCapture(event.pointerId)) set(widthAt(event) - offset);
	});
	edge.addEventListener("lostpointercapture", () => keep(width()));
	edge.addEventListener("dblclick", () => keep(0));
	edge.addEventListener("keydown", (event) => {
		const wider = isRightToLeft() ? "ArrowLeft" : "ArrowRight";
		const narrower = isRightToLeft() ? "ArrowRight" : "ArrowLeft";
		const keys = {
			[wider]: width() + STEP_PIXELS,
			[narrower]: width() - STEP_PIXELS,
			Home: LEAST_PIXELS,
			End: MOST_PIXELS,
			Enter: 0,
		};
		if (!(event.key in keys)) return;
		event.preventDefault();
		keep(keys[event.key]);
	});
	addEventListener("resize", tell);
	set(Number(recall(KEY)) || 0);
};
