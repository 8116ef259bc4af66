/** One conversation as it is open in this tab: what is known of it, and everything that can be done in it. */

import { ApiError, isAbort } from "./api.js";
import { describe, problem } from "./feedback.js";
import { createKnownMessages } from "./known-messages.js";
import { loadEditor } from "./later.js";
import { createMessageView, effectiveContent } from "./message-view.js";
import { onceAtATime } from "./once-at-a-time.js";
import { createOutbox } from "./outbox.js";
import { createUnsettledAnswers } from "./unsettled-answers.js";

const PAGE = 50;
const LARGEST_PAGE = 200;
/** More would make every new word slower. They are let go when nobody looks at the old ones any more. */
const MOST_MESSAGES = 400;

/** @type {CreateThread} */
export const createThread = (surroundings, conversationId, handlers) => {
  const { api, tabs, transcript, composer, agents, agentSelect, bookmarks, announce, companyId } = surroundings;
  const abort = new AbortController();
  const { signal } = abort;
  const known = createKnownMessages();
  /** Triggers of which nobody wants an answer any more, though it may begin yet. @type {Set<string | null>} */
  const unwanted = new Set();
  let id = conversationId;
  /** @type {Conversation | null} */
  let conversation = null;
  /** @type {Promise<void> | null} */
  let loadingOlder = null;
  /** @type {Map<string, MessageView>} */
  const views = new Map();
  /** @type {Promise<string> | null} */
  let creating = null;
  /** @type {Promise<void> | null} */
  let settingAgent = null;
  let isGone = false;

  // What is shown

  /** The agent that answers this message. @param {string | null} trigger */
  const agentFor = (trigger) => known.find(trigger)?.agentId ?? conversation?.agentId ?? null;

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

  /** It was taken back, or is let go. @param {string} id @param {MessageView} view */
  const drop = (id, view) => {
    views.delete(id);
    const unsaved = view.unsaved();
    if (unsaved === null) return;
    composer.giveBack(unsaved);
    composer.showProblem(problem("The message that you were editing was taken back elsewhere. Your words are below."));
  };

  const repaint = () => {
    if (signal.aborted || isGone) return;
    const ordered = known.inReadingOrder();
    const last = ordered.at(-1);
    const isQuiet = !answers.isAnswering() && !outbox.isSending();
    answers.keepMissing(last?.id ?? null);
    if (last?.role === "user" && isQuiet) {
      answers.noteUnanswered(last.conversationId, last.id, "There is no answer to this.");
    }
    const elements = ordered.flatMap((message) => {
      const view = viewOf(message);
      const isNewest = message === last && isQuiet;
      view.update(message, {
        author: authorName(message.role, message.agentId),
        isNewest,
        canRegenerate: isNewest && message.role === "assistant" && Boolean(known.questionOf(message)),
        isBookmarked: bookmarks.has(message.id),
      });
      return [view.element, answers.elementFor(message.id) ?? []].flat();
    });
    const ids = new Set(ordered.map((message) => message.id));
    transcript.place([...elements, ...outbox.elements(), ...answers.elementsBut(ids)]);
    composer.setAnswering(answers.isAnswering());
    for (const [id, view] of views) if (!ids.has(id)) drop(id, view);
  };

  /** @param {Conversation} now */
  const take = (now) => {
    if (signal.aborted) return;
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
      if (error instanceof ApiError && error.status === 404 && !signal.aborted && !isGone) {
        isGone = true;
        answers.forget();
        composer.hide();
        transcript.place([problem("This conversation does not exist, or was deleted.")]);
        handlers.onGone();
      }
      throw error;
    });

  /** @param {Message} message @param {MessageView} view that showed it in the making */
  const become = (message, view) => {
    views.set(message.id, view);
    announce(`${authorName(message.role, message.agentId)}: ${effectiveContent(message)}`);
  };

  const refresher = onceAtATime(async () => {
    if (!id) return;
    const asOf = known.version();
    // In this order: the messages are never older than what the conversation says of them.
    const now = await orGone(api.getConversation(id, signal));
    const limit = Math.min(Math.max(known.size(), PAGE), LARGEST_PAGE);
    const page = await orGone(api.listMessages(id, { limit }, signal));
    if (signal.aborted) return;
    const keepsOlder = known.size() <= MOST_MESSAGES || !transcript.isAtEnd();
    if (!known.takeNewest(page, asOf, keepsOlder)) return void refresher.request();
    take(now);
    for (const message of page.items) {
      const view = message.replyTo && answers.settle(message.replyTo);
      if (view) become(message, view);
    }
    const run = now.activeRun;
    if (run && unwanted.delete(run.triggerMessageId)) await api.stop(id);
    else if (run && !known.isAnswered(run.triggerMessageId)) answers.follow(id, run.triggerMessageId, { starts: false });
    outbox.reconcile();
    repaint();
    transcript.askForOlder();
  });

  /** What fails is due, and the next poll tries it again. */
  const tryRefresh = () => refresher.request().catch(() => {});

  /** @param {number} limit */
  const fetchOlder = async (limit) => {
    const cursor = known.olderCursor();
    if (!id || !cursor) return;
    known.takeOlder(await api.listMessages(id, { limit, cursor }, signal), cursor);
    repaint();
    transcript.askForOlder();
  };

  /** Calls that come while one is under way wait for that one. */
  const loadOlder = async (limit = PAGE) => {
    await (loadingOlder ??= fetchOlder(limit).finally(() => (loadingOlder = null)));
  };

  const open = async () => {
    if (!id) return outbox.restore();
    try {
      await refresher.request();
      transcript.goToEnd();
      outbox.restore();
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

  /** Asks for the answer to a message that is known by now. @param {Message} message */
  const ask = (message) => {
    unwanted.delete(message.id);
    // Who went elsewhere does not read the answer, but did ask for it.
    if (signal.aborted) return api.startAnswer(message.conversationId, message.id);
    answers.follow(message.conversationId, message.id, { starts: true });
    transcript.goToEnd();
    tellChanged();
  };

  /** The same where all after it was just superseded. @param {Message} message */
  const askAnew = (message) => {
    answers.forget();
    known.rewindTo(message);
    ask(message);
  };

  const create = async () => {
    const agentId = agentSelect.chosen();
    const created = await api.createConversation(companyId, agentId ? { agentId } : {});
    id = created.id;
    outbox.moved();
    if (!signal.aborted) {
      composer.adopt(id);
      take(created);
      handlers.onCreated(created);
    }
    return id;
  };

  const outbox = createOutbox(api, signal, {
    id: () => id,
    async conversationId() {
      await settingAgent;
      return id ?? (creating ??= create().finally(() => (creating = null)));
    },
    newest: known.newest,
    stored: ({ content, after }) => known.asked(content, after),
    createView: () => createMessageView("user", "You", actions),
    onChange: repaint,
    onTakenBack: composer.giveBack,
    onSent(message, view) {
      if (!views.has(message.id)) views.set(message.id, view);
      known.add(message);
      ask(message);
    },
  });

  /** @type {MessageActions} */
  const actions = {
    announce,
    onEdit: (open) => attempt(async () => open((await loadEditor()).editMessage)),
    async onSave(message, text) {
      if (answers.isAnswering()) await api.stop(message.conversationId);
      const edited = await api.editMessage(message.conversationId, message.id, text);
      await api.rewind(message.conversationId, message.id);
      askAnew(edited);
    },
    onRegenerate: (answer) =>
      attempt(async (id) => {
        const question = known.questionOf(answer);
        if (!question) return;
        await api.rewind(id, question.id);
        askAnew(question);
      }),
    onBranch: (message) =>
      attempt(async (id) => {
        const branch = await api.branch(id, message.id);
        if (!signal.aborted) handlers.onBranched(branch);
      }),
    onBookmark: (message) => attempt(() => bookmarks.toggle(message)),
  };

  const answers = createUnsettledAnswers(surroundings, {
    createView: (trigger) => createMessageView("assistant", authorName("assistant", agentFor(trigger)), actions),
    onAnswer(answer, view) {
      if (known.find(answer.id)) return repaint();
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
      known.add(message);
      become(message, view);
      composer.clearProblem(); // Whatever it was, it went on.
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
    if (news.kind !== "answering" || signal.aborted || known.isAnswered(news.trigger)) return;
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
    loadOlder: () => loadOlder().catch(() => {}), // The next scroll or poll asks again.
    repaint,
    id: () => (isGone ? null : id),
    send(content) {
      if (outbox.isSending()) return false;
      composer.clearProblem();
      outbox.send(content, agentSelect.once());
      agentSelect.clearOnce();
      transcript.goToEnd();
      return true;
    },
    stop: () =>
      attempt(async (id) => {
        const { stopped } = await api.stop(id);
        if (!stopped) for (const trigger of answers.forget()) unwanted.add(trigger);
        await refresher.request();
      }),
    async setAgent(agentId) {
      settingAgent = attempt(async (id) => {
        take(await api.updateConversation(id, { agentId }));
        tellChanged();
      });
      await settingAgent;
    },
    close() {
      abort.abort();
      answers.forget();
      transcript.place([]);
    },
    async poll() {
      if (!id || refresher.running()) return;
      const now = await orGone(api.getConversation(id, signal));
      if (isGone) return handlers.onBack();
      const { activeRun, updatedAt } = now;
      const isNews = activeRun && !answers.isFollowing(activeRun.triggerMessageId);
      if (isNews || refresher.isDue() || conversation?.updatedAt !== updatedAt) await refresher.request();
      else if (JSON.stringify(now) !== JSON.stringify(conversation)) take(now);
      transcript.askForOlder();
    },
    reveal: (messageId) =>
      attempt(async () => {
        await refresher.running();
        while (!known.find(messageId) && known.olderCursor()) await loadOlder(LARGEST_PAGE);
        const message = known.find(messageId);
        if (!message) throw new ApiError("That message is not here any more");
        transcript.reveal(viewOf(message).element);
      }),
  };
};
