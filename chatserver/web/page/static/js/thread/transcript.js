/**
 * The scrolling list of messages: their order, and which part of them is in view.
 *
 * @typedef {ReturnType<typeof createTranscript>} Transcript
 * @typedef {{ id: string, offset: number }} ReadingPosition The id of an element in view, and how far it is below the
 *   upper edge, in CSS pixels.
 */

import { placeInOrder } from "../ui/dom.js";
import { icon } from "../ui/icons.js";

/** At this distance from the end the list follows what is added, in CSS pixels. */
const NEAR_PIXELS = 48;

/** @param {PageParts} parts @param {() => void} onOlder older messages are needed */
export const createTranscript = ({ scroller, messages, older, toEnd }, onOlder) => {
	let isAtEnd = true;
	let lastTop = 0;
	/**
	 * The message that stays where it is while others grow or shrink, and the block of it that does while its own ones do.
	 * Null at the end.
	 *
	 * @type {{message: Element, offset: number, block: Element, blockOffset: number} | null}
	 */
	let reading = null;

	const rest = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;

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
		scroller.scrollTop = scroller.scrollHeight;
		remember();
	};

	const keepPosition = () => {
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
	const near = new IntersectionObserver((entries) => entries.at(-1)?.isIntersecting && onOlder(), {
		root: scroller,
		rootMargin: "600px 0px 0px",
	});

	return {
		goToEnd,
		isAtEnd: () => isAtEnd,
		/** Null at the end. @returns {ReadingPosition | null} */
		position: () => (reading?.message.id ? { id: reading.message.id, offset: reading.offset } : null),
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
			near.unobserve(older);
			near.observe(older);
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
		/** Scrolls to a message and marks it for a moment. @param {HTMLElement} message */
		reveal(message) {
			isAtEnd = false;
			message.scrollIntoView({ block: "center" });
			remember();
			message.classList.remove("revealed");
			void message.offsetWidth; // Restarts the animation.
			message.classList.add("revealed");
		},
	};
};
