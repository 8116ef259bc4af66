/**
 * What the page's modules (static/js) hand each other, with its meaning. For the type checker and for readers: no
 * browser loads this, which keeps the page small.
 */

// --- the page's own HTML -----------------------------------------------------------------------------------------

/** The elements of index.html by their ids. */
interface PageParts {
  skip: HTMLAnchorElement;
  sidebar: HTMLElement;
  drawerOpen: HTMLButtonElement;
  drawerClose: HTMLButtonElement;
  backdrop: HTMLElement;
  newConversation: HTMLButtonElement;
  search: HTMLInputElement;
  conversations: HTMLElement;
  /** In the place of the conversations at times: what was found. */
  found: HTMLElement;
  bookmarked: HTMLButtonElement;
  archived: HTMLButtonElement;
  company: HTMLElement;
  signOut: HTMLButtonElement;
  thread: HTMLElement;
  title: HTMLElement;
  connection: HTMLElement;
  options: HTMLButtonElement;
  notices: HTMLElement;
  scroller: HTMLElement;
  greeting: HTMLElement;
  /** Above the messages: older ones are wanted when it comes near. */
  older: HTMLElement;
  messages: HTMLElement;
  toEnd: HTMLButtonElement;
  problem: HTMLElement;
  composer: HTMLFormElement;
  message: HTMLTextAreaElement;
  agent: HTMLSelectElement;
  send: HTMLButtonElement;
  stop: HTMLButtonElement;
  announcer: HTMLElement;
}

// --- what the server sends ------------------------------------------------------------------------------------

interface Conversation {
  id: string;
  companyId: string;
  title: string | null;
  agentId: string | null;
  pinnedAt: string | null;
  archivedAt: string | null;
  updatedAt: string;
  activeRun: { triggerMessageId: string | null; startedAt: string } | null;
}

type Role = "user" | "assistant" | "system";

interface Message {
  id: string;
  conversationId: string;
  role: Role;
  content: string;
  editedContent: string | null;
  editedAt: string | null;
  agentId: string | null;
  replyTo: string | null;
  status: "completed" | "stopped";
  createdAt: string;
  /** The server's rendering of an answer. Null or missing: the text is to be shown. */
  html?: string | null;
}

interface Agent {
  id: string;
  name: string;
}

interface Session {
  mode: string;
  actor: { name: string } | null;
  companies: { id: string }[];
}

/** A message that a search found, or that is listed for another reason. */
interface Found {
  /** null where the title was found */
  message: Message | null;
  conversation: Conversation;
  snippet: { text: string; hit: boolean }[];
}

interface Bookmark {
  message: Message;
  conversation: Conversation;
}

interface Page<T> {
  items: T[];
  hasMore: boolean;
  nextCursor: string | null;
}

type AnswerDelta =
  | { type: "token"; content: string }
  | { type: "reasoning"; content: string }
  | { type: "reset" };
type AnswerEnd =
  | { type: "done"; messageId: string }
  | { type: "stopped"; messageId: string | null }
  | { type: "error"; error: string; code: string; retryable: boolean };
type AnswerEvent = AnswerDelta | AnswerEnd;

interface PageQuery {
  limit?: number;
  cursor?: string | null;
}

interface RequestOptions {
  /** What is null or undefined is left out. */
  query?: object;
  body?: object;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** The server's public API. All of it fails with an `ApiError`, or as aborted. */
interface Api {
  session(): Promise<Session>;
  signIn(token: string): Promise<void>;
  signOut(): Promise<void>;
  listConversations(
    companyId: string,
    query: PageQuery & { archived?: "true" | "false" },
    signal?: AbortSignal,
  ): Promise<Page<Conversation>>;
  createConversation(companyId: string, fields: { agentId?: string }): Promise<Conversation>;
  getConversation(id: string, signal?: AbortSignal): Promise<Conversation>;
  updateConversation(id: string, changes: { title?: string | null; agentId?: string | null }): Promise<Conversation>;
  deleteConversation(id: string): Promise<void>;
  act(id: string, action: "archive" | "unarchive" | "pin" | "unpin" | "restore"): Promise<Conversation>;
  exportUrl(conversationId: string, format: "markdown" | "json"): string;
  /** Newest first, answers with their `html`. */
  listMessages(conversationId: string, query: PageQuery, signal?: AbortSignal): Promise<Page<Message>>;
  /** Adds a person's message; `key` is the same for every try of one send. */
  addMessage(conversationId: string, fields: { content: string; agentId?: string }, key: string): Promise<Message>;
  editMessage(conversationId: string, messageId: string, content: string): Promise<Message>;
  rewind(conversationId: string, messageId: string): Promise<void>;
  branch(conversationId: string, messageId: string): Promise<Conversation>;
  /** Stops the answer in the making and keeps what was shown of it. */
  stop(conversationId: string): Promise<{ stopped: boolean }>;
  search(companyId: string, query: PageQuery & { q: string }, signal?: AbortSignal): Promise<Page<Found>>;
  listBookmarks(companyId: string, query: PageQuery, signal?: AbortSignal): Promise<Page<Bookmark>>;
  setBookmark(conversationId: string, messageId: string, isSet: boolean): Promise<void>;
  listAgents(companyId: string, query: PageQuery): Promise<Page<Agent>>;
  /**
   * The address of the answer to a message as an event stream, from after `lastEventId` on. It is generated to its end
   * also without readers, so that it is there for somebody who looked elsewhere meanwhile, and waits its turn where
   * another is being generated.
   */
  streamUrl(conversationId: string, triggerMessageId: string | null, lastEventId: string | null): string;
  /**
   * Asks for a stream only to learn how the server takes it, which an EventSource does not say; gives 200, or 204 when
   * all of the answer was read before. An answer that nobody asked for yet is started by it.
   */
  probeStream(
    conversationId: string,
    triggerMessageId: string | null,
    lastEventId: string | null,
    signal?: AbortSignal,
  ): Promise<number>;
  /** Has an answer generated, for whoever reads it. */
  startAnswer(conversationId: string, triggerMessageId: string | null): void;
}

// --- answers in the making ------------------------------------------------------------------------------------

interface StreamHandlers {
  onEvent(event: AnswerEvent, id: string): void;
  onConnection(connected: boolean): void;
  /** The server has nothing more to tell: what is stored is the truth. */
  onGone(): void;
  /** The server will not; asking again without a change is no use. */
  onRefused(error: Error & { status: number }): void;
}

/**
 * Opens the stream of an answer, from after `lastEventId` on. Who reads an end closes it; after `close` no handler is
 * called.
 */
type OpenStream = (
  api: Api,
  answer: { conversationId: string; trigger: string | null },
  lastEventId: string | null,
  handlers: StreamHandlers,
) => { close(): void };

/** How far an answer has come. */
interface Progress {
  content: string;
  reasoning: string;
  lastEventId: string | null;
}

interface FollowerHandlers extends Omit<StreamHandlers, "onEvent"> {
  onProgress(progress: Progress): void;
  onEnd(end: AnswerEnd, progress: Progress): void;
}

/** Follows until the end or `close`, after which no handler is called. */
type FollowAnswer = (
  page: { api: Api; tabs: BrowserTabs },
  answer: {
    conversationId: string;
    trigger: string | null;
    /** Whether asking for it may start it; else it has to be in the making already. */
    starts: boolean;
    /** From where to go on. */
    progress: Progress | null;
  },
  handlers: FollowerHandlers,
) => { close(): void; progress(): Progress };

/** What tabs tell each other. `answer` names an answer the same way in all of them. */
type News =
  | { kind: "bookmark"; messageId: string; isSet: boolean }
  | { kind: "changed"; conversationId: string | null }
  | { kind: "answering"; conversationId: string; trigger: string | null }
  | { kind: "asked"; answer: string }
  | { kind: "progress"; answer: string; progress: Progress }
  | { kind: "event"; answer: string; event: AnswerEvent; id: string };

interface BrowserTabs {
  /** Whether one tab can read for all; browsers offer Web Locks only over HTTPS and on loopback. */
  canShare: boolean;
  /** To all other tabs. */
  tell(news: News): void;
  listen(listener: (news: News) => void, signal?: AbortSignal): void;
  /**
   * Runs `read` as soon as this tab is the one to read the answer and a connection is free for it; where tabs cannot
   * share, at once. `signal` ends the wait, not `read`.
   */
  whenLeading(answer: string, signal: AbortSignal, read: () => Promise<void>): Promise<void>;
}

interface PendingAnswersHandlers {
  /** How the answer to a message is to look while it is made. */
  createView(trigger: string | null): MessageView;
  /** One is stored now; the view showed it in the making. */
  onAnswer(answer: Pick<Message, "id" | "replyTo" | "content" | "status">, view: MessageView): void;
  /** Somebody asks for it again. */
  onRetry(trigger: string | null): void;
  /** Something else is to be seen. */
  onChange(): void;
  /** The server knows more than this tab does. */
  onStale(): void;
}

interface PendingAnswers {
  /** Shows the answer to a message as it comes. `starts`: whether asking for it may start it. */
  follow(conversationId: string, trigger: string | null, how: { starts: boolean }): void;
  isAnswering(): boolean;
  isFollowing(trigger: string | null): boolean;
  /** It is stored, whatever else was heard of it; gives the view that showed it in the making. */
  settle(trigger: string | null): MessageView | undefined;
  /** Closes the streams while the tab is hidden. */
  suspend(): void;
  resume(conversationId: string): void;
  /** The messages whose answers are followed. */
  triggers(): (string | null)[];
  /** Follows none any more. */
  forget(): void;
  noteUnanswered(conversationId: string, trigger: string | null, text: string): void;
  /** Forgets the notices of missing answers, but for this message's. */
  forgetMissingBut(trigger: string | null): void;
  elementFor(trigger: string | null): HTMLElement | undefined;
  /** What stands by none of these messages. */
  elementsBut(known: ReadonlySet<string | null>): HTMLElement[];
}

type CreatePendingAnswers = (context: PageContext, handlers: PendingAnswersHandlers) => PendingAnswers;

// --- messages -------------------------------------------------------------------------------------------------

interface MessageActions {
  announce: Announce;
  /** Hands out what makes an editor. */
  onEdit(message: Message, open: (editMessage: EditMessage) => void): void;
  /** Fails with what is to be shown. */
  onSave(message: Message, text: string): Promise<void>;
  /** The editor was closed while it saved, and that failed. */
  onLost(message: Message, text: string): void;
  onRegenerate(message: Message): void;
  onBranch(message: Message): void;
  onBookmark(message: Message): void;
}

interface MessageContent {
  element: HTMLElement;
  showText(text: string): void;
  /** `html` is the server's. */
  showHtml(html: string): void;
}

type CreateMessageContent = (announce: Announce) => MessageContent;

interface MessageState {
  author: string;
  /** The last word. */
  isNewest: boolean;
  canRegenerate: boolean;
  isBookmarked: boolean;
}

interface MessageView {
  element: HTMLElement;
  /** What stands in its editor; null when it is not being edited, or nothing was changed. */
  unsaved(): string | null;
  /** Shows a person's words on their way to the server. */
  showPending(text: string): void;
  /** Shows how far an answer has come, no more often than the screen is painted. */
  showProgress(progress: Progress): void;
  /** Shows what is stored. */
  update(message: Message, state: MessageState): void;
}

type CreateMessageView = (role: Role, author: string, actions: MessageActions) => MessageView;

type EditMessage = (
  content: string,
  handlers: {
    onSave(text: string): Promise<void>;
    onClose(): void;
    /** It is not shown any more, and its text could not be saved. */
    onLost(text: string): void;
  },
) => { form: HTMLFormElement; unsaved(): string | null; focus(): void };

interface Transcript {
  /** Shows exactly these, in this order, without moving what one is reading. */
  place(elements: readonly HTMLElement[]): void;
  goToEnd(): void;
  isAtEnd(): boolean;
  /** Null at the end. */
  reading(): Place | null;
  /** To the end if it is not there any more. */
  goBackTo(place: Place): void;
  /** Looks again whether older messages are wanted. */
  askForOlder(): void;
  /** Brings one into sight and marks it for a moment. */
  reveal(message: HTMLElement): void;
}

type CreateTranscript = (parts: PageParts, onOlder: () => void) => Transcript;

/** In the server's order: that of writing, which can differ from that of reading. */
interface MessageStore {
  find(id: string | null): Message | undefined;
  /** Every answer directly after the message it answers. */
  inReadingOrder(): Message[];
  size(): number;
  /** Counts what was changed here, so that an older answer of the server does not undo it. */
  version(): number;
  /** The id of the last one. */
  newest(): string | null;
  isAnswered(trigger: string | null): boolean;
  /** Whether a person's message of these words came after the one with this id; null: after none. */
  isAsked(content: string, after: string | null): boolean;
  /** The message that an answer answers: what it says itself, or the last person's word before it. */
  questionOf(answer: Message): Message | undefined;
  /**
   * Puts the newest page, newest first, in the place of what was known of that stretch, or of all; false when something
   * was changed here since the version in which it was asked for.
   */
  takeNewest(page: Page<Message>, asOf: number, keepsOlder: boolean): boolean;
  /** Leads to older ones than are known; null when there are none. */
  olderCursor(): string | null;
  takeOlder(page: Page<Message>, cursor: string): void;
  /** As the last one; one that is known already stays. */
  add(message: Message): void;
  /** Forgets all that follows in reading order; the message is as it is now. */
  rewindTo(message: Message): void;
}

interface ConversationSync {
  /** As last received from the server. */
  conversation(): Conversation | null;
  /** Takes the conversation from another request's response. */
  take(conversation: Conversation): void;
  /** Whether there is no such conversation. */
  isGone(): boolean;
  /** Asks for the newest messages; calls that come meanwhile share one more turn. */
  refresh(): Promise<void>;
  /** Asks for a page of older ones; nothing comes of it when it fails. */
  loadOlder(): void;
  /** Gives the message, after all back to it were loaded; undefined if there is none. */
  loadBackTo(messageId: string): Promise<Message | undefined>;
  /** Looks whether anything happened that this tab was not told. */
  poll(isFollowing: (trigger: string | null) => boolean): Promise<void>;
}

type CreateConversationSync = (
  context: PageContext,
  /** That the thread was left. */
  signal: AbortSignal,
  known: MessageStore,
  thread: {
    id(): string | null;
    onConversation(conversation: Conversation): void;
    /** The newest ones are known, and the answer in the making. */
    onMessages(run: Conversation["activeRun"]): void;
    onOlder(): void;
    /** There is no such conversation, or it was deleted. */
    onGone(): void;
    /** A deleted conversation is there again. */
    onBack(): void;
  },
) => ConversationSync;

// --- one conversation -----------------------------------------------------------------------------------------

interface Drafts {
  get(conversationId: string | null): string;
  set(conversationId: string | null, text: string): void;
}

interface Composer {
  /** Turns to a conversation (null: a new one) and its draft. */
  open(conversationId: string | null): void;
  /** The conversation that was begun here exists now. */
  adopt(conversationId: string): void;
  setAnswering(isAnswering: boolean): void;
  /** Gives words back that would be lost elsewhere, to the open conversation's draft or another one's. */
  giveBack(text: string, conversationId?: string | null): void;
  showProblem(alert: HTMLElement): void;
  clearProblem(): void;
  focus(): void;
  /** Nothing can be written here. */
  hide(): void;
}

type CreateComposer = (
  parts: PageParts,
  handlers: {
    /** Gives whether it was taken. */
    onSend(text: string): boolean;
    onStop(): void;
  },
) => Composer;

/** A message on its way. */
interface Letter {
  content: string;
  /** Who shall answer it, if not the conversation's agent. */
  agentId: string | null;
  /** Of all tries. */
  key: string;
  /** The last message when it was sent. */
  after: string | null;
}

interface Outbox {
  send(content: string, agentId: string | null): void;
  isSending(): boolean;
  /** Sends what was not stored when this tab was left or reloaded. */
  restore(): void;
  /** The conversation that was begun here exists now. */
  moved(): void;
  /** What shows the messages that are not stored yet. */
  elements(): HTMLElement[];
  /** Other messages are known now. What seemed to fail, and is among them, is sent again to learn which it is. */
  reconcile(): void;
}

type CreateOutbox = (
  context: PageContext,
  thread: {
    /** Null as long as there is no conversation. */
    id(): string | null;
    /** The same, after it was created if need be. */
    conversationId(): Promise<string>;
    newest(): string | null;
    /** As far as one can see: the key alone tells for sure. */
    isStored(letter: Letter): boolean;
    createView(): MessageView;
    /** Something else is to be seen. */
    onChange(): void;
    /** It is stored; the view showed it on its way. */
    onSent(message: Message, view: MessageView): void;
  },
) => Outbox;

interface Agents {
  load(api: Api, companyId: string): Promise<void>;
  all(): [id: string, name: string][];
  nameOf(agentId: string): string;
}

/** The select below the text box: the conversation's agent, or one for the next message only. */
interface AgentSelect {
  /** Shows the conversation's agent; null for the default. */
  show(agentId: string | null): void;
  chosen(): string | null;
  once(): string | null;
  clearOnce(): void;
}

type CreateAgentSelect = (
  select: HTMLSelectElement,
  agents: Agents,
  /** A new agent for the conversation. */
  onChange: (agentId: string | null) => void,
) => AgentSelect;

interface AgentSetting {
  /** Null for the default agent. A failure is shown, and the select then shows what is set. */
  set(agentId: string | null): void;
  /** Fails when the last choice could not be saved. */
  saved(): Promise<void>;
}

type CreateAgentSetting = (
  context: PageContext,
  conversation: {
    /** Waits for a conversation that is being created; null where there is none yet. */
    id(): Promise<string | null>;
    /** The agent that the server knows of. */
    current(): string | null;
    /** Whether it is not shown any more. */
    isLeft(): boolean;
    onSaved(conversation: Conversation): void;
  },
) => AgentSetting;

interface Bookmarks {
  load(): Promise<void>;
  has(messageId: string): boolean;
  toggle(message: Message): Promise<void>;
}

type CreateBookmarks = (api: Api, companyId: string, tabs: BrowserTabs, onChange: () => void) => Bookmarks;

/** Says it to people who listen to the page: as a whole, for a live region is not for pieces. */
type Announce = (text: string) => void;

/** Says quietly that the server is away, once any of the page's connections was for a second, and as long as one is. */
type ConnectionStatus = (what: string, connected: boolean) => void;

/** What a thread works with; it outlives the thread. */
interface PageContext {
  api: Api;
  tabs: BrowserTabs;
  transcript: Transcript;
  composer: Composer;
  agents: Agents;
  agentSelect: AgentSelect;
  bookmarks: Bookmarks;
  announce: Announce;
  setConnection: ConnectionStatus;
  /** Of conversations that are begun here. */
  companyId: string;
  /** The keys of the letters that this tab is sending, from whatever thread. */
  underWay: Set<string>;
}

interface ThreadHandlers {
  /** What is known of it now. */
  onConversation(conversation: Conversation): void;
  /** It exists from now on. */
  onCreated(conversation: Conversation): void;
  /** A branch was created. */
  onBranched(conversation: Conversation): void;
  /** There is no such conversation, or it was deleted. */
  onGone(): void;
  /** A deleted conversation is there again. */
  onBack(): void;
  /** Something happened that lists show. */
  onActivity(): void;
}

interface Thread {
  /** Null also where the conversation is no more. */
  id(): string | null;
  open(): Promise<void>;
  /** Leaves it. Answers in the making go on without this tab. */
  close(): void;
  /** Gives whether it was taken: not while another one is on its way. */
  send(content: string): boolean;
  /** Stops the answer in the making; what was shown of it stays. */
  stop(): Promise<void>;
  setAgent(agentId: string | null): void;
  /** Looks whether anything happened that this tab was not told. */
  poll(): Promise<void>;
  loadOlder(): void;
  /** Brings a message into sight, however old it is. */
  reveal(messageId: string): Promise<void>;
  /** Shows what is known, where names have changed. */
  repaint(): void;
}

type CreateThread = (
  context: PageContext,
  /** Null for one that its first message will create. */
  conversationId: string | null,
  /** Where one left it; null: it is shown at its end. */
  place: Place | null,
  handlers: ThreadHandlers,
) => Thread;

// --- all conversations ----------------------------------------------------------------------------------------

interface Route {
  conversationId: string | null;
  messageId: string | null;
}

/** Where one reads: the id of an element, and how far it stands below the upper edge. */
interface Place {
  id: string;
  offset: number;
}

interface Router {
  /** From now on `onRoute` is told of every address that people go to, the first included. */
  start(): void;
  go(address: string): void;
  /** The page shows this already. */
  record(address: string): void;
}

/** `isReturn`: by the browser's own back or forward. */
type CreateRouter = (onRoute: (route: Route, isReturn: boolean) => void) => Router;

/** One line about what was just done. It stays until it is used or closed: nobody has to be quick. */
interface Notices {
  offerUndo(text: string, undo: () => void): void;
  warn(text: string): void;
  clear(): void;
}

type CreateNotices = (
  place: HTMLElement,
  announce: Announce,
  handlers: {
    /** Bring the place into sight. */
    uncover(): void;
    /** What had the focus is gone. */
    refocus(): void;
  },
) => Notices;

type OnOptions = (button: HTMLElement, conversation: Conversation) => void;

interface ConversationList {
  /** Asks for the first page and keeps of the rest what still holds. */
  refresh(): Promise<void>;
  /** Shows those that were put away, or the others. */
  show(archived: boolean): Promise<void>;
  /** As it is now; one that is not listed stays so. */
  update(conversation: Conversation): void;
  remove(id: string): void;
  /** The one that is open. */
  setCurrent(id: string | null): void;
}

type CreateConversationList = (
  container: HTMLElement,
  api: Api,
  companyId: string,
  onOptions: OnOptions,
) => ConversationList;

/** Gives a page of what is to be listed. */
type ResultSource = (cursor: string | null, signal: AbortSignal) => Promise<Page<Found>>;

/** Gives what shows a list; null: none. */
type CreateResultList = (container: HTMLElement) => (source: ResultSource | null) => void;

type CreateSidebar = (
  parts: PageParts,
  api: Api,
  companyId: string,
  handlers: { onOptions: OnOptions; onNew(): void; onError(error: unknown): void },
) => {
  list: ConversationList;
  /** There is a new bookmark, or one less. */
  onBookmarks(): void;
};

/** Gives what opens the menu of a conversation at a button. */
type CreateConversationMenu = (
  api: Api,
  notices: Notices,
  handlers: {
    onChanged(conversation: Conversation): void;
    /** Gives whether it was open. */
    onDeleted(conversation: Conversation): boolean;
    onRestored(conversation: Conversation, wasOpen: boolean): void;
  },
) => OnOptions;

/** Gives what closes it. */
type CreateDrawer = (parts: PageParts) => () => void;

type Attribute = string | number | boolean | null | undefined | ((event: any) => void);
