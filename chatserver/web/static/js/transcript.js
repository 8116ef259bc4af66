/** Where the messages stand: their order on the page, and which part of them is in sight. */

import { placeInOrder } from "./dom.js";
import { icon } from "./icons.js";

/** So near to the end counts as at the end, in CSS pixels. */
const NEAR_PIXELS = 48;

/** @type {CreateTranscript} */
export const createTranscript = ({ scroller, messages, older, toEnd }, onOlder) => {
  let isAtEnd = true;

  const look = () => {
    isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PIXELS;
    toEnd.hidden = isAtEnd;
  };

  const goToEnd = () => {
    scroller.scrollTop = scroller.scrollHeight;
    isAtEnd = true;
    toEnd.hidden = true;
  };

  const firstInSight = () => {
    const { top } = scroller.getBoundingClientRect();
    const all = messages.children;
    let [low, high] = [0, all.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (all[middle].getBoundingClientRect().bottom > top) high = middle;
      else low = middle + 1;
    }
    return all[low];
  };

  scroller.addEventListener("scroll", look, { passive: true });
  toEnd.append(icon("down"));
  toEnd.addEventListener("click", () => {
    goToEnd();
    scroller.focus({ preventScroll: true });
  });
  // Whatever makes it grow or the window shrink: who is at the end stays there.
  const sizes = new ResizeObserver(() => (isAtEnd ? goToEnd() : look()));
  sizes.observe(messages);
  sizes.observe(scroller);
  const near = new IntersectionObserver((entries) => entries.at(-1)?.isIntersecting && onOlder(), {
    root: scroller,
    rootMargin: "600px 0px 0px",
  });

  return {
    goToEnd,
    isAtEnd: () => isAtEnd,
    askForOlder() {
      // An observer tells only of changes, and of what it observes anew.
      near.unobserve(older);
      near.observe(older);
    },
    place(elements) {
      const anchor = isAtEnd ? undefined : firstInSight();
      const top = anchor?.getBoundingClientRect().top ?? 0;
      placeInOrder(messages, elements);
      if (isAtEnd) goToEnd();
      else if (anchor?.isConnected) scroller.scrollTop += anchor.getBoundingClientRect().top - top;
    },
    reveal(message) {
      isAtEnd = false;
      message.scrollIntoView({ block: "center" });
      message.classList.remove("found");
      void message.offsetWidth; // Lets the mark begin anew.
      message.classList.add("found");
    },
  };
};
