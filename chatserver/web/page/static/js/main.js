/** Builds the page's parts and joins them; what each of them does stands in its own module. */

import { createAgents, createAgentSelect } from "./company/agents.js";
import { ApiError, createApi, isAbort } from "./server/api.js";
import { createBookmarks } from "./company/bookmarks.js";
import { createComposer } from "./thread/composer.js";
import { createDrawer } from "./ui/drawer.js";
import { createAnnouncer, createConnectionStatus, createNotices, describe, problem, report } from "./ui/feedback.js";
import { repeatWhileVisible } from "./base/repeat-while-visible.js";
import { icon } from "./ui/icons.js";
import { loadAccount, loadAllOnFirstInput, loadMenu } from "./ui/on-demand.js";
import { coalesce } from "./base/coalesce.js";
import { addressOf, createRouter } from "./base/router.js";
import { createSidebar } from "./lists/sidebar.js";
import { createSignIn } from "./account/sign-in.js";
import { recall } from "./base/storage.js";
import { createBrowserTabs } from "./base/browser-tabs.js";
import { createThread } from "./thread/thread.js";
import { createTranscript } from "./thread/transcript.js";

/** Others are heard of within three seconds, the time of the requests included. */
const POLL_SECONDS = 2;

/** @param {PageParts} parts @param {Api} api @param {string} companyId */
function run(parts, api, companyId) {
	const { title, greeting, options } = parts;
	const tabs = createBrowserTabs();
	const agents = createAgents();
	const closeDrawer = createDrawer(parts);
	const announce = createAnnouncer(parts.announcer);
	const notices = createNotices(parts.notices, announce, { uncover: closeDrawer, refocus: () => composer.focus() });
	const setConnection = createConnectionStatus(parts.connection);
	/** @type {Thread | undefined} */
	let thread;
	/** That what was asked to be seen is there, or cannot be. */
	let opening = Promise.resolve();
	/** @type {Conversation | null} */
	let shown = null;
	/** Where conversations were left. @type {Map<string | null, Place | null>} */
	const places = new Map();

	const composer = createComposer(parts, {
		onSend: (text) => Boolean(thread?.send(text)),
		onStop: () => void thread?.stop(),
	});
	const transcript = createTranscript(parts, () => void thread?.loadOlder());
	const agentSelect = createAgentSelect(parts.agent, agents, (id) => thread?.setAgent(id));
	const bookmarks = createBookmarks(api, companyId, tabs, () => {
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
	const openMenu = (button, conversation) => void menuOf().then((open) => open(button, conversation)).catch(warn);
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
		const name = conversation?.title ?? "New conversation";
		if (title.textContent !== name) title.textContent = name;
		document.title = conversation ? `${name} · chatserver` : "chatserver";
		options.hidden = conversation === null;
		agentSelect.show(conversation?.agentId ?? null);
		if (conversation) list.update(conversation);
	};

	/** @type {PageContext} */
	const context = {
		api,
		tabs,
		transcript,
		composer,
		agents,
		agentSelect,
		bookmarks,
		announce,
		setConnection,
		companyId,
		underWay: new Set(),
	};

	/** @param {string | null} conversationId @param {Place | null} [place] */
	const openThread = (conversationId, place = null) => {
		if (thread) places.set(thread.id(), transcript.reading());
		thread?.close();
		agentSelect.clearOnce();
		composer.open(conversationId);
		list.setCurrent(conversationId);
		greeting.hidden = conversationId !== null;
		show(null);
		if (conversationId) title.textContent = "";
		thread = createThread(context, conversationId, place, {
			onConversation: show,
			onCreated({ id }) {
				router.record(addressOf(id));
				list.setCurrent(id);
			},
			onBranched({ id }) {
				router.go(addressOf(id));
				composer.focus();
			},
			onGone() {
				show(null);
				title.textContent = "Not found";
			},
			onBack: () => openThread(conversationId),
			onActivity: () => void beat(),
		});
		opening = thread.open();
	};

	const router = createRouter(({ conversationId, messageId }, isReturn) => {
		closeDrawer();
		const isOpen = thread && conversationId && conversationId === thread.id();
		const goesBack = !isOpen && isReturn && places.has(conversationId);
		if (!isOpen) openThread(conversationId, goesBack ? places.get(conversationId) : null);
		if (messageId && !goesBack) void thread?.reveal(messageId);
	});

	const loadAgents = coalesce(async () => {
		await agents.load(api, companyId);
		agentSelect.show(agentSelect.chosen());
		thread?.repaint();
	});
	const loadBookmarks = coalesce(bookmarks.load);
	/** What fails is due, and every beat tries it again. @param {typeof loadAgents} what */
	const load = (what) => void what.request().catch(report);

	const beat = repeatWhileVisible(POLL_SECONDS, async () => {
		const results = await Promise.allSettled([list.refresh(), thread?.poll()]);
		const errors = results.map((result) => result.status === "rejected" && result.reason);
		setConnection("poll", !errors.some((error) => error instanceof ApiError && error.status === 0));
		errors.filter(Boolean).forEach(report);
		[loadAgents, loadBookmarks].filter((what) => what.isDue()).forEach(load);
	});
	tabs.listen((news) => news.kind === "changed" && void beat());

	load(loadAgents);
	parts.skip.addEventListener("click", (event) => {
		event.preventDefault();
		parts.message.focus();
	});
	loadAllOnFirstInput();
	router.start();
	// They come with all of their messages: those of the first view come first.
	void opening.then(() => load(loadBookmarks));
	if (matchMedia("(hover: hover)").matches) composer.focus();
}

async function start() {
	/** All elements that have an id. @type {any} */
	const parts = Object.fromEntries(Array.from(document.querySelectorAll("[id]"), (node) => [node.id, node]));
	const askToken = createSignIn(() => api);
	const api = createApi(askToken);
	try {
		const session = await api.session();
		if (session.companies.length === 0) throw new ApiError("Sign in first", 401);
		const ids = session.companies.map(({ id }) => id);
		const companyId = ids.includes(recall("company")) ? recall("company") : ids[0];
		if (ids.length > 1 || session.mode === "authenticated") {
			loadAccount().then(({ showAccount }) => showAccount(parts, api, session, companyId), () => {});
		}
		run(parts, api, companyId);
	} catch (error) {
		// It ends without a token only.
		if (error instanceof ApiError && error.status === 401) await askToken();
		parts.messages.replaceChildren(problem(describe(error), () => location.reload()));
	}
}

void start();
