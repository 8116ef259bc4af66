/** Builds the page's parts and joins them; what each of them does stands in its own module. */

import { createAgents, createAgentSelect } from "./agents.js";
import { ApiError, createApi, isAbort } from "./api.js";
import { createComposer } from "./composer.js";
import { titleOf } from "./conversation-list.js";
import { createConversationMenu } from "./conversation-menu.js";
import { byId } from "./dom.js";
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

const POLL_SECONDS = 3;

/** @param {string} id */
const part = (id) => byId(id, HTMLElement);
/** @param {string} id */
const buttonPart = (id) => byId(id, HTMLButtonElement);

/** @param {Api} api @param {string} companyId */
function run(api, companyId) {
  const tabs = createTabs();
  const agents = createAgents();
  const closeDrawer = createDrawer({
    sidebar: part("sidebar"),
    thread: part("thread"),
    backdrop: part("backdrop"),
    openButton: buttonPart("drawer-open"),
    closeButton: buttonPart("drawer-close"),
  });
  const notices = createNotices(part("notices"), closeDrawer);
  const setConnection = createConnectionStatus(part("connection"));
  const title = part("title");
  const greeting = part("greeting");
  const options = buttonPart("options");
  options.append(icon("more"));
  buttonPart("to-end").append(icon("down"));

  /** @type {Thread | undefined} */
  let thread;
  /** @type {Conversation | null} */
  let shown = null;

  const composer = createComposer(
    {
      form: byId("composer", HTMLFormElement),
      box: byId("message", HTMLTextAreaElement),
      send: buttonPart("send"),
      stop: buttonPart("stop"),
      problem: part("problem"),
    },
    {
      onSend(text) {
        greeting.hidden = true;
        void thread?.send(text);
      },
      onStop: () => void thread?.stop(),
    },
  );
  const transcript = createTranscript(
    { scroller: part("scroller"), messages: part("messages"), older: part("older"), toEnd: buttonPart("to-end") },
    () => void thread?.loadOlder(),
  );
  const agentSelect = createAgentSelect(byId("agent", HTMLSelectElement), agents, (id) => void thread?.setAgent(id));

  /** @param {string} conversationId */
  const changed = (conversationId) => {
    tabs.tell({ kind: "changed", conversationId });
    void beat();
  };

  const openMenu = createConversationMenu(api, notices, {
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
  });
  options.addEventListener("click", () => shown && openMenu(options, shown));

  const list = createSidebar(
    {
      conversations: part("conversations"),
      results: part("results"),
      search: byId("search", HTMLInputElement),
      archived: buttonPart("archived"),
      newConversation: buttonPart("new-conversation"),
    },
    api,
    companyId,
    {
      onOptions: openMenu,
      onNew() {
        router.go(addressOf(null));
        composer.focus();
      },
      onError: (error) => isAbort(error) || notices.warn(describe(error)),
    },
  );

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

  /** @param {string | null} conversationId */
  const openThread = (conversationId) => {
    thread?.close();
    agentSelect.clearOnce();
    composer.open(conversationId);
    list.setCurrent(conversationId);
    greeting.hidden = conversationId !== null;
    show(null);
    if (conversationId) title.textContent = "";
    const announce = createAnnouncer(part("announcer"));
    const surroundings = { api, tabs, transcript, composer, agents, agentSelect, announce, setConnection, companyId };
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
  router.start();
  if (matchMedia("(hover: hover)").matches) composer.focus();
}

async function start() {
  const askToken = createSignIn(() => api);
  const api = createApi(askToken);
  try {
    const session = await api.session();
    if (session.companies.length === 0) return askToken();
    offerSignOut(api, session);
    run(api, chooseCompany(session));
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return;
    part("messages").replaceChildren(problem(describe(error), () => location.reload()));
    throw error;
  }
}

void start();
