/** What nobody needs at first is fetched later: so the page is there sooner. */

import { unreachable } from "./api.js";

export const loadMenu = () => import("./conversation-menu.js").catch(unreachable);
export const loadDialogs = () => import("./dialogs.js").catch(unreachable);
export const loadEditor = () => import("./message-editor.js").catch(unreachable);
export const loadFollower = () => import("./answer-follower.js").catch(unreachable);
export const loadFoundList = () => import("./found-list.js").catch(unreachable);

/** At a person's first sign of life, so that nothing that they type into an editor gets lost on the way. */
export function loadAllSoon() {
  const load = () => [loadMenu, loadDialogs, loadEditor, loadFollower, loadFoundList].map((one) => one().catch(() => {}));
  for (const sign of ["pointermove", "pointerdown", "keydown"]) addEventListener(sign, load, { once: true });
}
