/** One conversation as it is open in this tab: what is known of it, and everything that can be done in it. */

import { ApiError, idempotencyKey, isAbort } from "./api.js";
import { copyText } from "./clipboard.js";
import { describe, problem } from "./feedback.js";
import { inReadingOrder, mergeNewest, questionOf } from "./message-order.js";
import { createMessageView, effectiveContent } from "./message-view.js";
import { drafts } from "./storage.js";
import { createUnsettledAnswers } from "./unsettled-answers.js";

const PAGE = 50;
const LARGEST_PAGE = 200;
/** More would make every new word slower. They are let go when nobody looks at the old ones any more. */
const MOST_MESSAGES = 400;

/** @type {CreateThread} */
export const createThread = (surroundings, conversationId, handlers) => {
  const { api, tabs, transcript, composer, agents, agentSelect, announce, companyId } = surroundings;
  const abort = new AbortController();
  const { signal } = abort;
  let id = conversationId;
  /** @type {Conversation | null} */
  let conversation = null;
  /** Oldest first. @type {Message[]} */
  let messages = [];
  /** @type {string | null} */
  let olderCursor = null;
  let isLoadingOlder = false;
  /** @type {Map<string, MessageView>} */
  const views = new Map();
  /** The message on its way to the server. @type {HTMLElement | null} */
  let pending = null;
  /** Counts what was changed here, so that an older answer of the server does not undo it. */
  let changes = 0;
  /** @type {Promise<void> | null} */
  let refreshing = null;
  let refreshAgain = false;
  let isGone = false;

  // What is shown

  /** The agent that answers this message. @param {string | null} trigger */
  const agentFor = (trigger) =>
    messages.find((message) => message.id === trigger)?.agentId ?? conversation?.agentId ?? null;

  /** @param {Role} role @param {string | null} agentId */
  const authorName = (role, agentId) => {
    if (role === "user") return "You";
    if (role === "system") return "System";
    return agentId ? agents.nameOf(agentId) : "Assistant";
  };

  /** @param {Message} message */
  const viewOf = (message) => {
    const view = views.get(message.id) ?? createMessageView(message.role, "", actions);
    views.set(message.id, view);
    return view;
  };

  const repaint = () => {
    if (signal.aborted || isGone) return;
    const ordered = inReadingOrder(messages);
    const last = ordered.at(-1);
    const isQuiet = !answers.isAnswering() && !pending;
    answers.keepMissing(last?.id ?? null);
    if (last?.role === "user" && isQuiet) {
      answers.noteUnanswered(last.conversationId, last.id, "There is no answer to this.");
    }
    const elements = ordered.flatMap((message) => {
      const view = viewOf(message);
      view.update(message, authorName(message.role, message.agentId), message === last && isQuiet);
      return [view.element, answers.elementFor(message.id) ?? []].flat();
    });
    if (pending) elements.push(pending);
    elements.push(...answers.elementsBut(new Set(ordered.map((message) => message.id))));
    transcript.place(elements);
    composer.setAnswering(answers.isAnswering());
  };

  /** @param {Conversation} now */
  const take = (now) => {
    conversation = now;
    handlers.onConversation(now);
  };

  const tellChanged = () => {
    tabs.tell({ kind: "changed", conversationId: id });
    handlers.onActivity();
  };

  // What the server knows

  /**
   * Shows it when the conversation is no more.
   *
   * @template T
   * @param {Promise<T>} request
   */
  const orGone = (request) =>
    request.catch((error) => {
      if (error instanceof ApiError && error.status === 404 && !signal.aborted) {
        isGone = true;
        answers.forget();
        composer.hide();
        transcript.place([problem("This conversation does not exist, or was deleted.")]);
      }
      throw error;
    });

  /** @param {Message} message @param {MessageView} view that showed it in the making */
  const become = (message, view) => {
    views.set(message.id, view);
    announce(`${authorName(message.role, message.agentId)}: ${effectiveContent(message)}`);
  };

  /** @param {string | null} trigger */
  const isAnswered = (trigger) => trigger !== null && messages.some((message) => message.replyTo === trigger);

  /** @param {string} id */
  const load = async (id) => {
    const before = changes;
    // In this order: the messages are never older than what the conversation says of them.
    const now = await orGone(api.getConversation(id, signal));
    const limit = Math.min(Math.max(messages.length, PAGE), LARGEST_PAGE);
    const page = await orGone(api.listMessages(id, { limit }, signal));
    if (signal.aborted) return;
    if (before !== changes) {
      refreshAgain = true;
      return;
    }
    const isTooMany = messages.length > MOST_MESSAGES && transcript.isAtEnd();
    const merged = mergeNewest(isTooMany ? [] : messages, page.items.reverse());
    messages = merged.messages;
    if (!merged.isJoined) olderCursor = page.nextCursor;
    take(now);
    for (const message of messages) {
      const view = message.replyTo && answers.settle(message.replyTo);
      if (view) become(message, view);
    }
    const run = now.activeRun;
    if (run && !isAnswered(run.triggerMessageId)) answers.follow(id, run.triggerMessageId, { starts: false });
    repaint();
    transcript.askForOlder();
  };

  const refreshAll = async () => {
    try {
      while (refreshAgain && id) {
        refreshAgain = false;
        await load(id);
      }
    } finally {
      refreshing = null;
    }
  };

  /** Calls that come while one is under way share one more. */
  const refresh = async () => {
    refreshAgain = true;
    if (id) await (refreshing ??= refreshAll());
  };

  /** The same where it may fail: the next poll tries again. */
  const tryRefresh = () => refresh().catch(() => {});

  const loadOlder = async (limit = PAGE) => {
    const cursor = olderCursor;
    if (!id || !cursor || isLoadingOlder) return;
    isLoadingOlder = true;
    try {
      const page = await api.listMessages(id, { limit, cursor }, signal);
      if (olderCursor !== cursor) return;
      const known = new Set(messages.map((message) => message.id));
      messages = [...page.items.reverse().filter((message) => !known.has(message.id)), ...messages];
      olderCursor = page.nextCursor;
      repaint();
      transcript.askForOlder();
    } catch {
      // The next scroll or poll asks again.
    } finally {
      isLoadingOlder = false;
    }
  };

  const open = async () => {
    if (!id) return;
    try {
      await refresh();
      transcript.goToEnd();
    } catch (error) {
      if (!isAbort(error) && !isGone) transcript.place([problem(describe(error), open)]);
    }
  };

  // What people do

  /** Does what may fail, and offers to try again. @param {(id: string) => Promise<void>} task */
  const attempt = async (task) => {
    if (!id) return;
    composer.clearProblem();
    try {
      await task(id);
    } catch (error) {
      if (!signal.aborted && !isGone) composer.showProblem(problem(describe(error), () => attempt(task)));
    }
  };

  /** @returns {Promise<string>} the id of the conversation that was begun here */
  const create = async () => {
    const agentId = agentSelect.chosen();
    const created = await api.createConversation(companyId, agentId ? { agentId } : {});
    id = created.id;
    if (!signal.aborted) {
      composer.adopt(id);
      take(created);
      handlers.onCreated(created);
    }
    return id;
  };

  /** Asks for the answer to a message. @param {Message} message @param {Message[]} all as they are now */
  const ask = (message, all) => {
    changes += 1;
    messages = all;
    answers.follow(message.conversationId, message.id, { starts: true });
    transcript.goToEnd();
    tellChanged();
  };

  /** The same where all after it was just superseded. @param {Message} message */
  const askAnew = (message) => {
    answers.forget();
    const isBefore = (/** @type {Message} */ { id, createdAt, replyTo }) =>
      id !== message.id && createdAt <= message.createdAt && replyTo !== message.id;
    ask(message, [...messages.filter(isBefore), message]);
  };

  /** @param {string} content @param {string | null} agentOnce @param {string} key of all tries of one send */
  const send = async (content, agentOnce, key) => {
    if (pending) return composer.giveBack(content);
    const view = createMessageView("user", "You", actions);
    view.showPending(content);
    pending = view.element;
    composer.clearProblem();
    repaint();
    transcript.goToEnd();
    let message;
    try {
      message = await api.addMessage(id ?? (await create()), agentOnce ? { content, agentId: agentOnce } : { content }, key);
    } catch (error) {
      if (signal.aborted) return; // The draft was kept.
      pending = null;
      repaint();
      composer.giveBack(content);
      const retry = () => {
        composer.take(content);
        void send(content, agentOnce, key);
      };
      composer.showProblem(problem(`Not sent. ${describe(error)}`, retry));
      return;
    }
    for (const draft of [null, message.conversationId]) if (drafts.get(draft) === content) drafts.set(draft, "");
    if (signal.aborted) {
      // Nobody is here any more to read the answer, but it was asked for.
      api.probeStream(api.streamUrl(message.conversationId, message.id, null)).catch(() => {});
      return;
    }
    if (agentOnce) agentSelect.clearOnce();
    pending = null;
    views.set(message.id, view);
    ask(message, [...messages.filter((known) => known.id !== message.id), message]);
  };

  /** @type {MessageActions} */
  const actions = {
    async onCopy(message) {
      const copied = await copyText(effectiveContent(message));
      announce(copied ? "Copied" : "The browser did not allow it to be copied");
      return copied;
    },
    async onSave(message, text) {
      if (answers.isAnswering()) await api.stop(message.conversationId);
      const edited = await api.editMessage(message.conversationId, message.id, text);
      await api.rewind(message.conversationId, message.id);
      askAnew(edited);
    },
    onRegenerate: (answer) =>
      attempt(async (id) => {
        const question = questionOf(inReadingOrder(messages), answer);
        if (!question) throw new ApiError("There is no message that this answers");
        await api.rewind(id, question.id);
        askAnew(question);
      }),
    onBranch: (message) => attempt(async (id) => handlers.onBranched(await api.branch(id, message.id))),
  };

  const answers = createUnsettledAnswers(surroundings, {
    createView: (trigger) => createMessageView("assistant", authorName("assistant", agentFor(trigger)), actions),
    onAnswer(answer, view) {
      if (messages.some((message) => message.id === answer.id)) return repaint();
      changes += 1;
      /** What more the server knows of it follows. @type {Message} */
      const message = {
        ...answer,
        conversationId: id ?? "",
        role: "assistant",
        editedContent: null,
        editedAt: null,
        agentId: agentFor(answer.replyTo),
        createdAt: new Date().toISOString(),
      };
      messages = [...messages, message];
      become(message, view);
      repaint();
    },
    onChange: repaint,
    onStale() {
      handlers.onActivity();
      void tryRefresh();
    },
  });

  // What happens elsewhere

  tabs.listen(async (news) => {
    if (document.hidden || !id || !("conversationId" in news) || news.conversationId !== id) return;
    await tryRefresh();
    if (news.kind !== "answering" || signal.aborted || isAnswered(news.trigger)) return;
    answers.follow(id, news.trigger, { starts: false });
  }, signal);

  const onVisibilityChange = async () => {
    if (document.hidden) return answers.suspend();
    await tryRefresh();
    if (id && !signal.aborted) answers.resume(id);
  };
  document.addEventListener("visibilitychange", onVisibilityChange, { signal });

  return {
    open,
    loadOlder,
    repaint,
    id: () => (isGone ? null : id),
    send: (content) => send(content, agentSelect.once(), idempotencyKey()),
    stop: () =>
      attempt(async (id) => {
        const { stopped } = await api.stop(id);
        if (!stopped) answers.forget();
        await refresh();
      }),
    setAgent: (agentId) =>
      attempt(async (id) => {
        take(await api.updateConversation(id, { agentId }));
        tellChanged();
      }),
    close() {
      abort.abort();
      answers.forget();
      transcript.place([]);
    },
    async poll() {
      if (!id || isGone || refreshing) return;
      const { updatedAt, activeRun } = await orGone(api.getConversation(id, signal));
      const isNews = activeRun && !answers.isFollowing(activeRun.triggerMessageId);
      if (isNews || conversation?.updatedAt !== updatedAt) await refresh();
      transcript.askForOlder();
    },
    async reveal(messageId) {
      await refreshing?.catch(() => {});
      const find = () => messages.find((message) => message.id === messageId);
      let cursor;
      while (!find() && olderCursor && olderCursor !== cursor) {
        cursor = olderCursor;
        await loadOlder(LARGEST_PAGE);
      }
      const message = find();
      if (message && !signal.aborted) transcript.reveal(viewOf(message).element);
    },
  };
};
