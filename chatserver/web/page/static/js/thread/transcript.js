/** Where the messages stand: their order on the page, and which part of them is in sight. */

import { placeInOrder } from "../ui/dom.js";
import { icon } from "../ui/icons.js";

/** So near to the end counts as at the end, in CSS pixels. */
const NEAR_PIXELS = 48;

/** @type {CreateTranscript} */
export const createTranscript = ({ scroller, messages, older, toEnd }, onOlder) => {
	let isAtEnd = true;
	let lastTop = 0;
	/** What stays where it is, whatever grows or shrinks around it. @type {{message: Element, offset: number} | null} */
	let reading = null;

	const rest = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;

	/** How far below the upper edge it begins. @param {Element} message */
	const offsetOf = (message) => message.getBoundingClientRect().top - scroller.getBoundingClientRect().top;

	/** The first that begins in sight, or the one that fills it all. */
	const firstInSight = () => {
		const all = messages.children;
		let [low, high] = [0, all.length];
		while (low < high) {
			const middle = (low + high) >> 1;
			if (offsetOf(all[middle]) >= 0) high = middle;
			else low = middle + 1;
		}
		return low > 0 && (low === all.length || offsetOf(all[low]) > scroller.clientHeight) ? all[low - 1] : all[low];
	};

	const remember = () => {
		lastTop = scroller.scrollTop;
		const message = isAtEnd ? null : firstInSight();
		reading = message && { message, offset: offsetOf(message) };
		toEnd.hidden = isAtEnd || rest() < NEAR_PIXELS;
	};

	const onScroll = () => {
		if (scroller.scrollTop === lastTop) return; // It was this script, and sizes may have changed since.
		// Who moves up, however little, wants to stay; who comes near to the end, to follow it.
		if (scroller.scrollTop < lastTop) isAtEnd = rest() < 2;
		else if (rest() < NEAR_PIXELS) isAtEnd = true;
		remember();
	};

	const goToEnd = () => {
		isAtEnd = true;
		scroller.scrollTop = scroller.scrollHeight;
		remember();
	};

	const keepPlace = () => {
		if (isAtEnd) return goToEnd();
		if (reading?.message.isConnected) scroller.scrollTop += offsetOf(reading.message) - reading.offset;
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
		// Who edits a message stays with it, whatever is answered below.
		isAtEnd = false;
		remember();
	});
	const sizes = new ResizeObserver((entries) => {
		keepPlace();
		// A phone's keyboard takes half of the place.
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
		reading: () => (reading?.message.id ? { id: reading.message.id, offset: reading.offset } : null),
		goBackTo({ id, offset }) {
			const message = document.getElementById(id);
			if (!message) return goToEnd();
			isAtEnd = false;
			reading = { message, offset };
			keepPlace();
		},
		askForOlder() {
			// An observer tells only of changes, and of what it observes anew.
			near.unobserve(older);
			near.observe(older);
		},
		place(elements) {
			placeInOrder(messages, elements);
			keepPlace();
		},
		reveal(message) {
			isAtEnd = false;
			message.scrollIntoView({ block: "center" });
			remember();
			message.classList.remove("revealed");
			void message.offsetWidth; // Lets the mark begin anew.
			message.classList.add("revealed");
		},
	};
};
