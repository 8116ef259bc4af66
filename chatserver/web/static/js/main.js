/**
 * Builds the page's parts and joins them; what each of them does stands in its own module. Those that nobody needs at
 * first are fetched when they are, here and elsewhere: the page is there sooner.
 */

import { createAgents, createAgentSelect } from "./agents.js";
import { ApiError, createApi, isAbort, unreachable } from "./api.js";
import { createBookmarks } from "./bookmarks.js";
import { createComposer } from "./composer.js";
import { titleOf } from "./conversation-list.js";
import { createDrawer } from "./drawer.js";
import { createAnnouncer, createConnectionStatus, createNotices, describe, problem } from "./feedback.js";
import { repeatWhileVisible } from "./heartbeat.js";
import { icon } from "./icons.js";
import { addressOf, createRouter } from "./router.js";
import { chooseCompany, createSignIn, offerSignOut } from "./session.js";
import { createSidebar } from "./sidebar.js";
import { createTabs } from "./tabs.js";
import { createThread } from "./thread.js";
import { createTranscript } from "./transcript.js";

/** Others are heard of within three seconds, the time of the requests included. */
const POLL_SECONDS = 2;

/** @param {PageParts} parts @param {Api} api @param {string} companyId */
function run(parts, api, companyId) {
  const { title, greeting, options } = parts;
  const tabs = createTabs();
  const agents = createAgents();
  const closeDrawer = createDrawer(parts);
  const notices = createNotices(parts.notices, closeDrawer);
  const setConnection = createConnectionStatus(parts.connection);
  const announce = createAnnouncer(parts.announcer);
  /** @type {Thread | undefined} */
  let thread;
  /** @type {Conversation | null} */
  let shown = null;

  const composer = createComposer(parts, {
    onSend(text) {
      greeting.hidden = true;
      void thread?.send(text);
    },
    onStop: () => void thread?.stop(),
  });
  const transcript = createTranscript(parts, () => void thread?.loadOlder());
  const agentSelect = createAgentSelect(parts.agent, agents, (id) => void thread?.setAgent(id));
  const bookmarks = createBookmarks(api, companyId, () => {
    thread?.repaint();
    onBookmarks();
  });

  /** @param {string} conversationId */
  const changed = (conversationId) => {
    tabs.tell({ kind: "changed", conversationId });
    void beat();
  };

  /** @param {unknown} error */
  const warn = (error) => void (isAbort(error) || notices.warn(describe(error)));

  /** @type {OnOptions | undefined} */
  let menu;
  const loadMenu = async () => {
    const { createConversationMenu } = await import("./conversation-menu.js").catch(unreachable);
    return (menu ??= createConversationMenu(api, notices, {
      onChanged(conversation) {
        if (conversation.id === thread?.id()) show(conversation);
        else list.update(conversation);
        changed(conversation.id);
      },
      onRemoved({ id }) {
        list.remove(id);
        if (id === thread?.id()) router.go(addressOf(null));
        changed(id);
      },
    }));
  };
  /** @type {OnOptions} */
  const openMenu = (button, conversation) => void loadMenu().then((open) => open(button, conversation)).catch(warn);
  options.append(icon("more"));
  options.addEventListener("click", () => shown && openMenu(options, shown));

  const { list, onBookmarks } = createSidebar(parts, api, companyId, {
    onOptions: openMenu,
    onNew() {
      router.go(addressOf(null));
      composer.focus();
    },
    onError: warn,
  });

  /** @param {Conversation | null} conversation */
  const show = (conversation) => {
    shown = conversation;
    const name = conversation ? titleOf(conversation) : "New conversation";
    if (title.textContent !== name) title.textContent = name;
    document.title = conversation ? `${name} · chatserver` : "chatserver";
    options.hidden = conversation === null;
    agentSelect.show(conversation?.agentId ?? null);
    if (conversation) list.update(conversation);
  };

  const surroundings = { api, tabs, transcript, composer, agents, agentSelect, bookmarks, announce, setConnection, companyId };

  /** @param {string | null} conversationId */
  const openThread = (conversationId) => {
    thread?.close();
    agentSelect.clearOnce();
    composer.open(conversationId);
    list.setCurrent(conversationId);
    greeting.hidden = conversationId !== null;
    show(null);
    if (conversationId) title.textContent = "";
    thread = createThread(surroundings, conversationId, {
      onConversation: show,
      onCreated({ id }) {
        router.record(addressOf(id));
        list.setCurrent(id);
      },
      onBranched: ({ id }) => router.go(addressOf(id)),
      onActivity: () => void beat(),
    });
    void thread.open();
  };

  const router = createRouter(({ conversationId, messageId }) => {
    closeDrawer();
    if (!thread || !conversationId || conversationId !== thread.id()) openThread(conversationId);
    if (messageId) void thread?.reveal(messageId);
  });

  const beat = repeatWhileVisible(POLL_SECONDS, async () => {
    const results = await Promise.allSettled([list.refresh(), thread?.poll()]);
    const errors = results.map((result) => result.status === "rejected" && result.reason);
    setConnection("poll", !errors.some((error) => error instanceof ApiError && error.status === 0));
  });
  tabs.listen((news) => news.kind === "changed" && void beat());

  agents.load(api, companyId).then(
    () => {
      agentSelect.show(agentSelect.chosen());
      thread?.repaint();
    },
    (error) => notices.warn(`The agents cannot be shown. ${describe(error)}`),
  );
  bookmarks.load().catch((error) => notices.warn(`The bookmarks cannot be shown. ${describe(error)}`));
  router.start();
  if (matchMedia("(hover: hover)").matches) composer.focus();
}

async function start() {
  /** All elements that have an id. @type {any} */
  const parts = Object.fromEntries(Array.from(document.querySelectorAll("[id]"), (node) => [node.id, node]));
  const askToken = createSignIn(() => api);
  const api = createApi(askToken);
  try {
    const session = await api.session();
    if (session.companies.length === 0) return askToken();
    offerSignOut(parts, api, session);
    run(parts, api, chooseCompany(parts, session));
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return;
    parts.messages.replaceChildren(problem(describe(error), () => location.reload()));
    throw error;
  }
}

void start();
