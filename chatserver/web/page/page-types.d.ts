/** The elements of index.html by their ids. */
interface PageParts {
	skip: HTMLAnchorElement;
	sidebar: HTMLElement;
	drawerOpen: HTMLButtonElement;
	drawerClose: HTMLButtonElement;
	backdrop: HTMLElement;
	/** The handle that changes the sidebar's width. */
	sidebarEdge: HTMLElement;
	newConversation: HTMLButtonElement;
	search: HTMLInputElement;
	conversations: HTMLElement;
	/** Search results or bookmarks, in place of the conversations. */
	found: HTMLElement;
	bookmarked: HTMLButtonElement;
	archived: HTMLButtonElement;
	manageAgents: HTMLButtonElement;
	settings: HTMLButtonElement;
	/** Who is signed in, with a menu. */
	account: HTMLElement;
	thread: HTMLElement;
	title: HTMLElement;
	/** From which conversation this one was branched off. */
	origin: HTMLElement;
	connection: HTMLElement;
	options: HTMLButtonElement;
	notices: HTMLElement;
	scroller: HTMLElement;
	greeting: HTMLElement;
	greetingTitle: HTMLElement;
	/** Below the greeting: who will answer, agents, first questions. */
	offers: HTMLElement;
	/** Above the messages. Older ones are loaded when it comes near the view. */
	older: HTMLElement;
	messages: HTMLElement;
	toEnd: HTMLButtonElement;
	problem: HTMLElement;
	/** In place of the text box for those who may not write. */
	readOnly: HTMLElement;
	composer: HTMLFormElement;
	message: HTMLTextAreaElement;
	/** Tells by how much the text in the box is too long; else empty. */
	tooLong: HTMLElement;
	agent: HTMLButtonElement;
	send: HTMLButtonElement;
	stop: HTMLButtonElement;
	announcer: HTMLElement;
}
