/** Sends what a person wrote: shown at once, sent once, and given back where that fails. */

import { idempotencyKey } from "./api.js";
import { describe, problem } from "./feedback.js";
import { drafts } from "./storage.js";

/** @type {CreateSender} */
export const createSender = ({ api, composer }, signal, { conversationId, createView, onChange, onSent }) => {
  /** The message on its way. @type {HTMLElement | null} */
  let pending = null;

  /** @param {string} content @param {string | null} agentOnce @param {string} key of all tries of one send */
  const send = async (content, agentOnce, key) => {
    if (pending) return composer.giveBack(content);
    const view = createView();
    view.showPending(content);
    pending = view.element;
    composer.clearProblem();
    onChange();
    let message;
    try {
      message = await api.addMessage(await conversationId(), agentOnce ? { content, agentId: agentOnce } : { content }, key);
    } catch (error) {
      if (signal.aborted) return; // The draft was kept.
      pending = null;
      onChange();
      composer.giveBack(content);
      const retry = () => {
        composer.take(content);
        void send(content, agentOnce, key);
      };
      composer.showProblem(problem(`Not sent. ${describe(error)}`, retry));
      return;
    }
    for (const draft of [null, message.conversationId]) if (drafts.get(draft) === content) drafts.set(draft, "");
    pending = null;
    // Where nobody is here any more to read the answer, it was asked for all the same.
    if (signal.aborted) api.probeStream(api.streamUrl(message.conversationId, message.id, null)).catch(() => {});
    else onSent(message, view);
  };

  return {
    send: (content, agentOnce) => send(content, agentOnce, idempotencyKey()),
    pending: () => pending,
  };
};
