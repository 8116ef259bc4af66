/**
 * Builds the parts of the page and connects them. Each part has its own module.
 *
 * @import { ReadingPosition } from "./thread/transcript.js"
 * @import { PageContext, Thread } from "./thread/thread.js"
 * @import { Here, OpenPage } from "./account/entrance.js"
 * @import { OnOptions } from "./lists/conversation-list.js"
 * @import { ConversationMenu } from "./lists/conversation-menu.js"
 * @import { createAgentsDialog } from "./agents/agents-dialog.js"
 */

import { createAccount } from "./account/account.js";
import { enter } from "./account/entrance.js";
import { createMe } from "./account/me.js";
import { greetReader } from "./account/reading.js";
import { createAgentSelect } from "./agents/agent-select.js";
import { createGreeting } from "./agents/greeting.js";
import { createAttention } from "./attention/attention.js";
import { coalesce } from "./base/coalesce.js";
import { loadLanguage, t } from "./base/language.js";
import { repeatWhileVisible } from "./base/repeat-while-visible.js";
import { addressOf, createRouter } from "./base/router.js";
import { createCommands } from "./commands/create-commands.js";
import { createAgents } from "./company/agents.js";
import { createBookmarks } from "./company/bookmarks.js";
import { createProviders } from "./company/providers.js";
import { createOrigin } from "./lists/origin.js";
import { createParents } from "./lists/parents.js";
import { createSidebar } from "./lists/sidebar.js";
import { ApiError, isAbort } from "./server/api.js";
import { titleOf } from "./server/resources.js";
import { createComposer } from "./thread/composer.js";
import { createThread } from "./thread/thread.js";
import { createTranscript } from "./thread/transcript.js";
import { createDrawer } from "./ui/drawer.js";
import { createAnnouncer, createConnectionStatus, createNotices, describe, report } from "./ui/feedback.js";
import { icon } from "./ui/icons.js";
import { loadAllOnFirstInput, onDemand } from "./ui/on-demand.js";
import { createTabTitle } from "./ui/tab-title.js";

const loadMenu = onDemand(() => import("./lists/conversation-menu.js"));
const loadAgentsDialog = onDemand(() => import("./agents/agents-dialog.js"));

/** Changes by other people are seen within three seconds, the time of the requests included. */
const POLL_SECONDS = 2;

/** @param {PageParts} parts @param {Here} here @returns {OpenPage} */
function run(parts, { api, tabs, session, companyId }) {
	const { title, greeting, options } = parts;
	const me = createMe(session, companyId);
	/** On other screens the focus in a text box would bring up a keyboard. */
	const canHover = matchMedia("(hover: hover)").matches;
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

	const composer = createComposer(parts, me.canWrite, {
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
		onManage: me.canManage ? () => void manageAgents().catch(warn) : null,
		onError: (error) => warn(error),
	});
	const makeAgent = () => void manageAgents("new").catch(warn);
	const showGreeting = me.canWrite
		? createGreeting(parts, { agents, providers, agentSelect }, me.canManage ? makeAgent : null)
		: () => {};
	if (!me.canWrite) greetReader(parts);
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
		return (menu ??= createConversationMenu(api, me, notices, {
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

	const account = createAccount(parts.account, { api, tabs, session, companyId, me }, warn);
	const { list, onBookmarks } = createSidebar(parts, api, companyId, {
		me,
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
		const other = conversation?.companyId ?? companyId;
		// A link may lead to a conversation of another company, in which somebody may do other things.
		if (other !== companyId && session.companies.some(({ id }) => id === other)) return location.reload();
		shown = conversation;
		const nothing = me.canWrite ? t("New conversation") : t("Conversations");
		const name = conversation ? titleOf(conversation) : nothing;
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
		me,
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
		(me.canWrite ? parts.message : parts.scroller).focus();
	});
	const choices = () => (me.canWrite ? [null, ...agents.all().map(([id]) => id)] : []);
	createCommands(parts, {
		api,
		me,
		companyId,
		account: account.commands,
		agents: () => choices().map((id) => ({
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
	return {
		warn: notices.warn,
		leave() {
			thread?.close(true);
			tabTitle.setName("");
		},
	};
}

async function start() {
	/** All elements with an id. @type {any} */
	const parts = Object.fromEntries(Array.from(document.querySelectorAll("[id]"), (node) => [node.id, node]));
	await loadLanguage();
	await enter((here) => run(parts, here), (alert) => parts.messages.replaceChildren(alert));
}

void start();
