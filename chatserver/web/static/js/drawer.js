/** On narrow screens the conversations lie in a drawer over the thread. */

import { icon } from "./icons.js";

const NARROW = "(width <= 50rem)";

/** @type {CreateDrawer} */
export const createDrawer = ({ sidebar, thread, backdrop, openButton, closeButton }) => {
  const narrow = matchMedia(NARROW);
  let isOpen = false;

  /** @param {boolean} open */
  const set = (open) => {
    isOpen = open && narrow.matches;
    sidebar.classList.toggle("open", isOpen);
    thread.inert = isOpen;
    backdrop.hidden = !isOpen;
    openButton.setAttribute("aria-expanded", `${isOpen}`);
    if (isOpen) closeButton.focus();
  };

  const close = () => {
    if (!isOpen) return;
    set(false);
    openButton.focus();
  };

  openButton.append(icon("menu"));
  closeButton.append(icon("close"));
  openButton.addEventListener("click", () => set(true));
  closeButton.addEventListener("click", close);
  backdrop.addEventListener("click", close);
  sidebar.addEventListener("keydown", ({ key }) => key === "Escape" && close());
  narrow.addEventListener("change", () => set(false));
  set(false);
  return close;
};
