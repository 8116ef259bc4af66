/**
 * Builds the parts of the page and connects them. Each part has its own module.
 *
 * @import { ReadingPosition } from "./thread/transcript.js"
 * @import { PageContext, Thread } from "./thread/thread.js"
 * @import { ApiClient } from "./server/api.js"
 * @import { OnOptions } from "./lists/conversation-list.js"
 * @import { ConversationMenu } from "./lists/conversation-menu.js"
 * @import { createAgentsDialog } from "./agents/agents-dialog.js"
 */

import { showAccountControls } from "./account/account-controls.js";
import { createSignIn } from "./account/sign-in.js";
import { createAgentSelect } from "./agents/agent-select.js";
import { createGreeting } from "./agents/greeting.js";
import { createAttention } from "./attention/attention.js";
import { createBrowserTabs } from "./base/browser-tabs.js";
import { coalesce } from "./base/coalesce.js";
import { loadLanguage, t } from "./base/language.js";
import { repeatWhileVisible } from "./base/repeat-while-visible.js";
import { addressOf, createRouter } from "./base/router.js";
import { recall } from "./base/storage.js";
import { createCommands } from "./commands/create-commands.js";
import { createAgents } from "./company/agents.js";
import { createBookmarks } from "./company/bookmarks.js";
import { createProviders } from "./company/providers.js";
import { createOrigin } from "./lists/origin.js";
import { createParents } from "./lists/parents.js";
import { createSidebar } from "./lists/sidebar.js";
import { ApiError, createApi, isAbort } from "./server/api.js";
import { titleOf } from "./server/resources.js";
import { createComposer } from "./thread/composer.js";
import { createThread } from "./thread/thread.js";
import { createTranscript } from "./thread/transcript.js";
import { createDrawer } from "./ui/drawer.js";
import { createAnnouncer, createConnectionStatus, createNotices, describe, problem, report } from "./ui/feedback.js";
import { icon } from "./ui/icons.js";
import { loadAllOnFirstInput, onDemand } from "./ui/on-demand.js";
import { createTabTitle } from "./ui/tab-title.js";

const loadMenu = onDemand(() => import("./lists/conversation-menu.js"));
const loadAgentsDialog = onDemand(() => import("./agents/agents-dialog.js"));

/** Changes by other people are seen within three seconds, the time of the requests included. */
const POLL_SECONDS = 2;

/** @param {PageParts} parts @param {ApiClient} api @param {string} companyId */
function run(parts, api, companyId) {
	const { title, greeting, options } = parts;
	/** On other screens the focus in a text box would bring up a keyboard. */
	const canHover = matchMedia("(hover: hover)").matches;
	const tabs = createBrowserTabs();
	const tabTitle = createTabTitle();
	const parents = createParents(api);
	const showOrigin = createOrigin(parts.origin, parents);
	const providers = createProviders(api, companyId);
	const agents = createAgents({ api, tabs, providers }, companyId, () => {
		agentSelect.show(agentSelect.chosen());
		dialog?.refresh();
		thread?.repaint();
	});
	const closeDrawer = createDrawer(parts);
	const announce = createAnnouncer(parts.announcer);
	const notices = createNotices(parts.notices, announce, { uncover: closeDrawer, refocus: () => composer.focus() });
	const setConnection = createConnectionStatus(parts.connection);
	/** @type {Thread | undefined} */
	let thread;
	/** Resolves when the first view is loaded, or has failed. */
	let opening = Promise.resolve();
	/** @type {Api.Conversation | null} */
	let shown = null;
	/** Where conversations were left, by id. @type {Map<string | null, ReadingPosition | null>} */
	const positions = new Map();

	const composer = createComposer(parts, {
		onSend: (text) => thread?.send(text),
		onStop: () => void thread?.stop(),
	});
	const transcript = createTranscript(parts, {
		onOlder: () => thread?.loadOlder(),
		onNewer: () => thread?.loadNewer(),
		onStart: () => void thread?.goToStart(),
		onEnd: () => thread?.leaveStart(),
	});
	/** @type {ReturnType<typeof createAgentsDialog> | undefined} */
	let dialog;
	/** @param {"list" | "new"} [what] */
	const manageAgents = async (what) => {
		const { createAgentsDialog } = await loadAgentsDialog();
		(dialog ??= createAgentsDialog({ api, companyId, agents, providers, announce })).open(what);
		load(loadAgents);
	};
	const agentSelect = createAgentSelect(parts.agent, { agents, announce }, {
		onChange: (id) => thread?.setAgent(id),
		onShow: () => showGreeting(),
		onOpen: () => load(loadAgents),
		onManage: () => void manageAgents().catch(warn),
		onError: (error) => warn(error),
	});
	const makeAgent = () => void manageAgents("new").catch(warn);
	const showGreeting = createGreeting(parts, { agents, providers, agentSelect }, makeAgent);
	parts.manageAgents.addEventListener("click", () => void manageAgents().catch(warn));
	const bookmarks = createBookmarks(api, companyId, tabs, () => {
		thread?.repaint();
		onBookmarks();
	});

	/** @param {string} conversationId */
	const changed = (conversationId) => {
		tabs.tell({ kind: "changed", conversationId });
		void poll();
	};

	/** @param {unknown} error */
	const warn = (error) => void (isAbort(error) || notices.warn(describe(error)));

	/** @type {ConversationMenu | undefined} */
	let menu;
	const menuOf = async () => {
		const { createConversationMenu } = await loadMenu();
		return (menu ??= createConversationMenu(api, notices, {
			onChanged(conversation) {
				if (conversation.id === thread?.id()) show(conversation);
				else list.update(conversation);
				changed(conversation.id);
			},
			onDeleted({ id }) {
				const wasOpen = id === thread?.id();
				list.remove(id);
				if (wasOpen) router.go(addressOf(null));
				changed(id);
				return wasOpen;
			},
			onRestored({ id }, wasOpen) {
				if (wasOpen && !thread?.id()) router.go(addressOf(id));
				changed(id);
			},
		}));
	};
	/** @type {OnOptions} */
	const openMenu = (button, conversation) => void menuOf().then((menu) => menu.open(button, conversation)).catch(warn);
	options.append(icon("more"));
	options.addEventListener("click", () => shown && openMenu(options, shown));

	const attention = createAttention(api, tabs, {
		onChange: () => list.render(),
		onMissed: tabTitle.setCount,
		onOpen: (id) => router.go(addressOf(id)),
	});

	const { list, onBookmarks } = createSidebar(parts, api, companyId, {
		parents,
		unseen: attention.unseen,
		onOptions: openMenu,
		onNew() {
			router.go(addressOf(null));
			composer.focus();
		},
		onError: warn,
	});

	/** @param {Api.Conversation | null} conversation */
	const show = (conversation) => {
		shown = conversation;
		const name = conversation ? titleOf(conversation) : t("New conversation");
		if (title.textContent !== name) title.textContent = title.title = name;
		tabTitle.setName(conversation ? name : "");
		showOrigin(conversation);
		options.hidden = conversation === null;
		agentSelect.show(conversation?.agentId ?? null);
		if (conversation) list.update(conversation);
	};

	/** @type {PageContext} */
	const context = {
		api: {
			...api,
			startAnswer(id, trigger) {
				attention.awaits(id, trigger);
				return api.startAnswer(id, trigger);
			},
		},
		tabs,
		transcript,
		composer,
		agents,
		providers,
		agentSelect,
		bookmarks,
		announce,
		setConnection,
		companyId,
		sending: new Set(),
	};

	/** @param {string | null} conversationId @param {ReadingPosition | null} [position] */
	const openThread = (conversationId, position = null) => {
		if (thread) positions.set(thread.id(), transcript.position());
		thread?.close();
		agentSelect.clearOnce();
		composer.open(conversationId);
		list.setCurrent(conversationId);
		attention.setOpen(conversationId);
		greeting.hidden = conversationId !== null;
		show(null);
		if (conversationId) title.textContent = "";
		thread = createThread(context, conversationId, position, {
			onConversation: show,
			onCreated({ id }) {
				router.record(addressOf(id));
				list.setCurrent(id);
				attention.setOpen(id);
			},
			onBranched({ id }) {
				router.go(addressOf(id));
				composer.focus();
			},
			onGone() {
				show(null);
				title.textContent = t("Not found");
			},
			onBack: () => openThread(conversationId),
			onActivity: () => void poll(),
			onFollowing: attention.follows,
		});
		opening = thread.open();
	};

	const router = createRouter(({ conversationId, messageId }, isReturn) => {
		closeDrawer();
		const isOpen = thread && conversationId && conversationId === thread.id();
		const goesBack = !isOpen && isReturn && positions.has(conversationId);
		if (!isOpen) notices.leave();
		if (!isOpen) openThread(conversationId, goesBack ? positions.get(conversationId) : null);
		if (messageId && !goesBack) void thread?.reveal(messageId);
	});

	const loadAgents = coalesce(() => agents.load());
	const loadBookmarks = coalesce(bookmarks.load);
	/** After a failure each poll tries again. @param {typeof loadAgents} list */
	const load = (list) => void list.request().catch(report);

	const poll = repeatWhileVisible(POLL_SECONDS, async () => {
		const results = await Promise.allSettled([list.refresh(), thread?.poll()]);
		const errors = results.map((result) => result.status === "rejected" && result.reason);
		setConnection("poll", !errors.some((error) => error instanceof ApiError && error.status === 0));
		errors.filter(Boolean).forEach(report);
		if (agents.isOld() && !loadAgents.running()) load(loadAgents);
		[loadAgents, loadBookmarks].filter((list) => list.isDue()).forEach(load);
	});
	tabs.listen((news) => news.kind === "changed" && void poll());
	tabs.listen((news) => news.kind === "agents" && load(loadAgents));

	load(loadAgents);
	parts.skip.addEventListener("click", (event) => {
		event.preventDefault();
		parts.message.focus();
	});
	createCommands(parts, {
		api,
		companyId,
		agents: () => [null, ...agents.all().map(([id]) => id)].map((id) => ({
			name: agents.nameOf(id),
			note: agents.noteOn(id),
			run: () => agentSelect.choose(id, false),
		})),
		actions: async () => (shown ? (await menuOf()).actionsOn(shown) : []),
		go(address) {
			router.go(address);
			if (canHover) composer.focus();
		},
		onError: warn,
	});
	loadAllOnFirstInput();
	router.start();
	attention.start();
	// Bookmarks come with all of their messages, so the messages of the first view are loaded before.
	void opening.then(() => load(loadBookmarks));
	if (canHover) composer.focus();
}

async function start() {
	/** All elements with an id. @type {any} */
	const parts = Object.fromEntries(Array.from(document.querySelectorAll("[id]"), (node) => [node.id, node]));
	const askToken = createSignIn(() => api);
	const api = createApi(askToken);
	await loadLanguage();
	try {
		const session = await api.session();
		if (session.companies.length === 0) throw new ApiError(t("Sign in first"), 401);
		const ids = session.companies.map(({ id }) => id);
		const companyId = ids.includes(recall("company")) ? recall("company") : ids[0];
		if (ids.length > 1 || session.mode === "authenticated") {
			showAccountControls(parts, api, session, companyId);
		}
		run(parts, api, companyId);
	} catch (error) {
		// This resolves only if no token was accepted; a sign-in reloads the page.
		if (error instanceof ApiError && error.status === 401) await askToken();
		parts.messages.replaceChildren(problem(describe(error), () => location.reload()));
	}
}

void start();
