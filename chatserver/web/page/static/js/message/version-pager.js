/**
 * Leafs through the versions of an answer, and of its question if that was edited.
 *
 * @typedef {ReturnType<typeof createVersionPager>} VersionPager
 *
 * @typedef {object} Version
 * @property {number} number from 1 on
 * @property {number} count
 * @property {string | null} previous the answer to restore; null if there is none
 * @property {string | null} next
 * @property {boolean} canLeaf
 */

import { formatNumber, t } from "../base/language.js";
import { element } from "../ui/dom.js";
import { iconButton } from "../ui/icons.js";

/** @param {(answerId: string, direction: "previous" | "next") => void} onLeaf */
export const createVersionPager = (onLeaf) => {
	const pager = element("span", { class: "pager", role: "group", hidden: true });

	/** @param {string} name @param {"previous" | "next"} picture @param {Version} version */
	const leaf = (name, picture, version) => {
		const answerId = version[picture];
		const isOff = answerId === null || !version.canLeaf;
		const button = iconButton(name, picture, () => !isOff && onLeaf(answerId, picture));
		// Not `disabled`: the focus stays at the button when the first or the last version is reached.
		if (isOff) button.setAttribute("aria-disabled", "true");
		return button;
	};

	return {
		element: pager,
		/** @param {Version | null} version null: there is only one */
		show(version) {
			pager.hidden = version === null;
			if (version === null) return pager.replaceChildren();
			const { number, count } = version;
			const place = `${formatNumber(number)}\u2009/\u2009${formatNumber(count)}`;
			pager.setAttribute("aria-label", t("Version {number} of {count}", { number, count }));
			pager.replaceChildren(
				leaf(t("Previous version"), "previous", version),
				element("span", { "aria-hidden": true, class: "pager-place" }, place),
				leaf(t("Next version"), "next", version),
			);
		},
		/** Puts the focus on the button of this direction. @param {"previous" | "next"} direction */
		focus: (direction) =>
			/** @type {HTMLElement | null} */ (pager.children[direction === "previous" ? 0 : 2])?.focus({ preventScroll: true }),
	};
};
