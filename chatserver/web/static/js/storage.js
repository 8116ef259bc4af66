/** What is kept in this browser. Where that is turned off or full, things live as long as the page. */

/** What was written and not sent yet, per conversation (null: a new one), kept in this browser. @type {Drafts} */
export const drafts = {
  get: (conversationId) => recall(`draft ${conversationId ?? "new"}`),
  set: (conversationId, text) => remember(`draft ${conversationId ?? "new"}`, text),
};

/** @param {string} key */
export function recall(key) {
  try {
    return localStorage.getItem(`chatserver ${key}`) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} key @param {string} value empty to forget */
export function remember(key, value) {
  try {
    if (value) localStorage.setItem(`chatserver ${key}`, value);
    else localStorage.removeItem(`chatserver ${key}`);
  } catch {
    // See above.
  }
}
