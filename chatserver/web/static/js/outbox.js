/**
 * Messages on their way to the server: shown at once, stored once, and kept until they are, over a reload too. Whatever
 * is tried again is tried under the same `Idempotency-Key`.
 */

import { idempotencyKey } from "./api.js";
import { button } from "./dom.js";
import { describe, problem } from "./feedback.js";
import { forThisTab, recall, remember } from "./storage.js";

/** @type {CreateOutbox} */
export const createOutbox = (api, signal, thread) => {
  /** @type {{letter: Letter, view: MessageView, isSending: boolean, alert: HTMLElement | null}[]} */
  let entries = [];

  /** @param {typeof entries} now */
  const keep = (now) => {
    entries = now;
    const place = `unsent ${thread.id() ?? ""}`;
    remember(place, now.length ? JSON.stringify(now.map(({ letter }) => letter)) : "", forThisTab);
  };

  /** @param {typeof entries[0]} entry @param {Message} message that it has become */
  const settle = (entry, message) => {
    keep(entries.filter((other) => other !== entry));
    thread.onSent(message, entry.view);
  };

  /** @param {typeof entries[0]} entry */
  const deliver = async (entry) => {
    const { letter } = entry;
    const { content, agentId, key } = letter;
    entry.isSending = true;
    entry.alert = null;
    thread.onChange();
    try {
      settle(entry, await api.addMessage(await thread.conversationId(), agentId ? { content, agentId } : { content }, key));
    } catch (error) {
      entry.isSending = false;
      const stored = thread.stored(letter);
      if (stored) return settle(entry, stored); // Only the answer was lost.
      entry.alert = problem(`Not sent. ${describe(error)}`, () => deliver(entry));
      const takeBack = () => {
        keep(entries.filter((other) => other !== entry));
        thread.onTakenBack(content);
        thread.onChange();
      };
      entry.alert.append(button("Take back", takeBack));
      thread.onChange();
    }
  };

  /** @param {Letter} letter */
  const add = (letter) => {
    const entry = { letter, view: thread.createView(), isSending: true, alert: null };
    entry.view.showPending(letter.content);
    keep([...entries, entry]);
    void deliver(entry);
  };

  return {
    isSending: () => entries.some(({ isSending }) => isSending),
    send: (content, agentId) => add({ content, agentId, key: idempotencyKey(), after: thread.newest() }),
    restore() {
      const letters = JSON.parse(recall(`unsent ${thread.id() ?? ""}`, forThisTab) || "[]");
      for (const letter of letters) if (!signal.aborted) add(letter);
    },
    moved() {
      remember("unsent ", "", forThisTab);
      keep(entries);
    },
    elements() {
      const missing = entries.filter(({ letter }) => !thread.stored(letter));
      return missing.flatMap(({ view, alert }) => (alert ? [view.element, alert] : [view.element]));
    },
    reconcile() {
      for (const entry of entries) {
        const stored = entry.isSending ? undefined : thread.stored(entry.letter);
        if (stored) settle(entry, stored);
      }
    },
  };
};
