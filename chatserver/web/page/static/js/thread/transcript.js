/**
 * The scrolling list of messages: their order, and which part of them is in view.
 *
 * @typedef {ReturnType<typeof createTranscript>} Transcript
 * @typedef {object} ReadingPosition
 * @property {string} id of an element in view
 * @property {number} offset how far it is below the upper edge, in CSS pixels
 * @property {boolean} isFromStart whether the first messages are shown without all that follow them
 */

import { element, placeInOrder } from "../ui/dom.js";
import { icon } from "../ui/icons.js";

/** At this distance from the end the list follows what is added, in CSS pixels. */
const NEAR_PIXELS = 48;

/**
 * @param {PageParts} parts
 * @param {object} handlers
 * @param {() => void} handlers.onOlder older messages are needed
 * @param {() => void} handlers.onNewer messages behind the first ones are needed
 * @param {() => void} handlers.onStart somebody wants to read the beginning
 * @param {() => void} handlers.onEnd the last messages are to be shown instead of the first ones
 */
export const createTranscript = ({ scroller, messages, older, toEnd }, { onOlder, onNewer, onStart, onEnd }) => {
	/** Stands for all that follows, while the first messages are shown and what follows them is not loaded. */
	const gap = element("div", { class: "edge", "aria-hidden": "true" });
	let isAtEnd = true;
	let lastTop = 0;
	/**
	 * The message that stays where it is while others grow or shrink, and the block of it that does while its own ones do.
	 * Null at the end.
	 *
	 * @type {{message: Element, offset: number, block: Element, blockOffset: number} | null}
	 */
	let reading = null;

	/** How much of the conversation is below the view. */
	const rest = () =>
		gap.isConnected ? Infinity : scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;

	/** How far below the upper edge the message begins. @param {Element} message */
	const offsetOf = (message) => message.getBoundingClientRect().top - scroller.getBoundingClientRect().top;

	/** The first element that begins in view, or the one that fills the whole view. @param {HTMLCollection} all */
	const firstInView = (all) => {
		let [low, high] = [0, all.length];
		while (low < high) {
			const middle = (low + high) >> 1;
			if (offsetOf(all[middle]) >= 0) high = middle;
			else low = middle + 1;
		}
		return low > 0 && (low === all.length || offsetOf(all[low]) > scroller.clientHeight) ? all[low - 1] : all[low];
	};

	/** @param {Element} message @param {number} offset */
	const keep = (message, offset) => {
		const content = message.querySelector(".content");
		const block = (content && firstInView(content.children)) ?? message;
		reading = { message, offset, block, blockOffset: offset + offsetOf(block) - offsetOf(message) };
	};

	const remember = () => {
		lastTop = scroller.scrollTop;
		const message = isAtEnd ? null : firstInView(messages.children);
		if (message) keep(message, offsetOf(message));
		else reading = null;
		toEnd.hidden = isAtEnd || rest() < NEAR_PIXELS;
	};

	const onScroll = () => {
		if (scroller.scrollTop === lastTop) return; // This script scrolled, and sizes may have changed since.
		// Scrolling up, however little, means to stay there; scrolling near to the end means to follow it.
		if (scroller.scrollTop < lastTop) isAtEnd = rest() < 2;
		else if (rest() < NEAR_PIXELS) isAtEnd = true;
		remember();
	};

	const goToEnd = () => {
		isAtEnd = true;
		if (gap.isConnected) onEnd();
		// Without messages the greeting is read from its beginning on.
		scroller.scrollTop = messages.firstElementChild ? scroller.scrollHeight : 0;
		remember();
	};

	const goToStart = () => {
		isAtEnd = false;
		scroller.scrollTop = 0;
		remember();
	};

	const keepPosition = () => {
		// The first messages have just come instead of the last ones.
		if (isAtEnd && gap.isConnected) return goToStart();
		if (isAtEnd) return goToEnd();
		if (reading?.block.isConnected) scroller.scrollTop += offsetOf(reading.block) - reading.blockOffset;
		else if (reading?.message.isConnected) scroller.scrollTop += offsetOf(reading.message) - reading.offset;
		remember();
	};

	scroller.addEventListener("scroll", onScroll, { passive: true });
	toEnd.append(icon("down"));
	toEnd.addEventListener("click", () => {
		goToEnd();
		scroller.focus({ preventScroll: true });
	});
	messages.addEventListener("focusin", ({ target }) => {
		if (!(target instanceof HTMLTextAreaElement)) return;
		// A message that is being edited stays in view, whatever is answered below.
		isAtEnd = false;
		remember();
	});
	const sizes = new ResizeObserver((entries) => {
		keepPosition();
		// A phone's keyboard takes half of the space.
		if (!entries.some(({ target }) => target === scroller)) return;
		messages.querySelector("form:focus-within")?.scrollIntoView({ block: "nearest" });
		remember();
	});
	sizes.observe(messages);
	sizes.observe(scroller);
	const near = new IntersectionObserver(
		(entries) => {
			const now = new Map(entries.map(({ target, isIntersecting }) => [target, isIntersecting]));
			if (now.get(older) && !gap.isConnected) onOlder();
			if (now.get(gap)) onNewer();
		},
		{ root: scroller, rootMargin: "600px 0px" },
	);
	addEventListener("keydown", (event) => {
		const { key, target, ctrlKey, metaKey, altKey, shiftKey } = event;
		// Macs have no keys for it.
		const isHome = key === "Home" || (key === "ArrowUp" && metaKey);
		const isEnd = key === "End" || (key === "ArrowDown" && metaKey);
		if (!(isHome || isEnd) || altKey || shiftKey || event.defaultPrevented) return;
		const field = target instanceof Element && target.closest("input, textarea, select");
		// In a text it goes to its beginning.
		if (field && (/** @type {HTMLInputElement} */ (field).value || !(ctrlKey || metaKey))) return;
		const isHere = target === document.body || scroller.contains(/** @type {Node} */ (target));
		if (!(isHere || ctrlKey || metaKey)) return;
		event.preventDefault();
		if (isEnd) goToEnd();
		else onStart();
	});

	return {
		goToEnd,
		gap,
		goToStart,
		isAtEnd: () => isAtEnd,
		/** Null at the end. @returns {ReadingPosition | null} */
		position: () =>
			reading?.message.id
				? { id: reading.message.id, offset: reading.offset, isFromStart: gap.isConnected }
				: null,
		/** Goes to the end if the message is not there any more. @param {ReadingPosition} position */
		goBackTo({ id, offset }) {
			const message = document.getElementById(id);
			if (!message) return goToEnd();
			isAtEnd = false;
			keep(message, offset);
			keepPosition();
		},
		/** Looks again whether older messages are needed. */
		askForOlder() {
			// An observer tells of changes, and of elements that it begins to observe.
			for (const edge of [older, gap]) {
				near.unobserve(edge);
				near.observe(edge);
			}
		},
		/**
		 * Shows exactly these elements in this order, and keeps the reading position.
		 *
		 * @param {readonly HTMLElement[]} elements
		 */
		show(elements) {
			placeInOrder(messages, elements);
			keepPosition();
		},
		/**
		 * Returns a function that puts an element where this one is now in the view, whatever changed in between.
		 *
		 * @param {HTMLElement} place
		 */
		hold(place) {
			const offset = offsetOf(place);
			return (/** @type {HTMLElement} */ element) => {
				isAtEnd = false;
				reading = { message: element, offset, block: element, blockOffset: offset };
				// As high as it will be: messages that come into view have no height of their own yet.
				element.closest("article")?.style.setProperty("content-visibility", "visible");
				scroller.scrollTop += offsetOf(element) - offset;
				// What follows may be too short as yet: `reading` stays until the sizes are known.
				lastTop = scroller.scrollTop;
				toEnd.hidden = rest() < NEAR_PIXELS;
			};
		},
		/** Scrolls to a message and marks it for a moment. @param {HTMLElement} message */
		reveal(message) {
			if (!message.isConnected) onEnd();
			isAtEnd = false;
			message.scrollIntoView({ block: "center" });
			remember();
			message.classList.remove("revealed");
			void message.offsetWidth; // Restarts the animation.
			message.classList.add("revealed");
		},
	};
};
