// Written by `python -m scripts.page_types` from the OpenAPI document, which also says what each field means.

declare namespace Api {
	interface ActiveRun {
		triggerMessageId: string | null;
		startedAt: string;
	}
	interface Agent {
		id: string;
		companyId: string;
		name: string;
		adapterType: "echo" | "llm";
		adapterConfig: Record<string, unknown>;
		status: "active" | "removed";
		createdAt: string;
		updatedAt: string;
	}
	interface AgentPage {
		items: Agent[];
		hasMore: boolean;
		nextCursor: string | null;
	}
	interface Author {
		name: string;
	}
	interface Bookmark {
		message: ChatMessage;
		conversation: Conversation;
		createdAt: string;
	}
	interface BookmarkPage {
		items: Bookmark[];
		hasMore: boolean;
		nextCursor: string | null;
	}
	interface BranchConversation {
		messageId: string;
	}
	interface ChatMessage {
		id: string;
		conversationId: string;
		role: "user" | "assistant" | "system";
		content: string;
		agentId: string | null;
		createdAt: string;
		editedContent: string | null;
		editedAt: string | null;
		replyTo: string | null;
		status: "completed" | "stopped";
		supersededAt: string | null;
		usage: TokenUsage | null;
		model: string | null;
		stopReason: string | null;
		durationMs: number | null;
		reasoning: string | null;
		reasoningMs: number | null;
		author: Author | null;
		failure: Failure | null;
	}
	interface ChatMessagePage {
		items: ChatMessage[];
		hasMore: boolean;
		nextCursor: string | null;
	}
	interface Company {
		id: string;
		name?: string;
		role?: "reader" | "member" | "manager";
	}
	interface Conversation {
		id: string;
		companyId: string;
		title: string | null;
		agentId: string | null;
		pinnedAt: string | null;
		archivedAt: string | null;
		deletedAt: string | null;
		createdAt: string;
		updatedAt: string;
		parentConversationId: string | null;
		branchFromMessageId: string | null;
		activeRun: ActiveRun | null;
	}
	interface ConversationExport {
		format?: "chatserver.conversation";
		version?: 1;
		exportedAt: string;
		conversation: Conversation;
		messages: ExportedMessage[];
	}
	interface ConversationPage {
		items: Conversation[];
		hasMore: boolean;
		nextCursor: string | null;
	}
	interface CreateAgent {
		name: string;
		adapterType: "echo" | "llm";
		adapterConfig?: LlmConfig | null;
	}
	interface CreateConversation {
		title?: string | null;
		agentId?: string | null;
	}
	interface CreateMessage {
		role: "user" | "assistant" | "system";
		content: string;
		agentId?: string | null;
	}
	interface Detail {
		path: string;
		message: string;
	}
	interface DoneEvent {
		type: "done";
		messageId: string;
		usage: TokenUsage | null;
		stopReason: string | null;
	}
	interface EditMessage {
		content: string;
	}
	interface Error {
		error: string;
		details?: Detail[];
	}
	interface ErrorEvent {
		type: "error";
		error: string;
		code: "rate_limited"
			| "unauthorized"
			| "unavailable"
			| "timeout"
			| "interrupted"
			| "bad_response"
			| "refused"
			| "prompt_too_long"
			| "answer_too_long"
			| "internal";
		retryable: boolean;
	}
	interface ExportedMessage {
		id: string;
		conversationId: string;
		role: "user" | "assistant" | "system";
		content: string;
		agentId: string | null;
		createdAt: string;
		editedContent: string | null;
		editedAt: string | null;
		replyTo: string | null;
		status: "completed" | "stopped";
		supersededAt: string | null;
		usage: TokenUsage | null;
		model: string | null;
		stopReason: string | null;
		durationMs: number | null;
		reasoning: string | null;
		reasoningMs: number | null;
		author: Author | null;
		failure: Failure | null;
		agentName: string | null;
	}
	interface Failure {
		code: "rate_limited"
			| "unauthorized"
			| "unavailable"
			| "timeout"
			| "interrupted"
			| "bad_response"
			| "refused"
			| "prompt_too_long"
			| "answer_too_long"
			| "internal";
		error: string;
		retryable: boolean;
	}
	interface FormerAnswer {
		id: string;
		createdAt: string;
	}
	interface LlmConfig {
		provider?: string | null;
		model?: string | null;
		systemPrompt?: string | null;
		temperature?: number | null;
		maxTokens?: number | null;
	}
	type MessageList = ChatMessagePage | RenderedMessagePage;
	type OpenApiDocument = Record<string, unknown>;
	interface ProviderSummary {
		name: string;
		kind: "openai" | "anthropic" | "echo";
		model: string | null;
	}
	interface Providers {
		items: ProviderSummary[];
		default: string | null;
	}
	interface ReasoningEvent {
		type: "reasoning";
		content: string;
	}
	interface RenderText {
		text: string;
		headings?: number[];
	}
	interface RenderedBlock {
		html: string;
		chars: number;
		headings: number[];
	}
	interface RenderedBlocks {
		blocks: RenderedBlock[] | null;
	}
	interface RenderedMessage {
		id: string;
		conversationId: string;
		role: "user" | "assistant" | "system";
		content: string;
		agentId: string | null;
		createdAt: string;
		editedContent: string | null;
		editedAt: string | null;
		replyTo: string | null;
		status: "completed" | "stopped";
		supersededAt: string | null;
		usage: TokenUsage | null;
		model: string | null;
		stopReason: string | null;
		durationMs: number | null;
		reasoning: string | null;
		reasoningMs: number | null;
		author: Author | null;
		failure: Failure | null;
		formerAnswers: FormerAnswer[] | null;
		html: string | null;
	}
	interface RenderedMessagePage {
		items: RenderedMessage[];
		hasMore: boolean;
		nextCursor: string | null;
	}
	interface ResetEvent {
		type: "reset";
	}
	interface Restored {
		restored: number;
		superseded: number;
	}
	interface SearchHit {
		message: ChatMessage | null;
		conversation: Conversation;
		snippet: SnippetPart[];
	}
	interface SearchHitPage {
		items: SearchHit[];
		hasMore: boolean;
		nextCursor: string | null;
	}
	interface Session {
		mode: "local_trusted" | "authenticated" | "proxy";
		actor: SessionActor | null;
		companies: Company[];
	}
	interface SessionActor {
		name: string;
	}
	interface SignIn {
		token?: string;
	}
	interface SnippetPart {
		text: string;
		hit: boolean;
	}
	interface StopAnswer {
		keep?: boolean;
	}
	interface Stopped {
		stopped: boolean;
	}
	interface StoppedEvent {
		type: "stopped";
		messageId: string | null;
	}
	type StreamEvent = TokenEvent | ReasoningEvent | ResetEvent | DoneEvent | StoppedEvent | ErrorEvent;
	interface StreamFrame {
		id: string;
		data: string;
	}
	interface StreamMessage {
		content: string;
		agentId?: string | null;
	}
	interface Superseded {
		superseded: number;
	}
	interface TokenEvent {
		type: "token";
		content: string;
	}
	interface TokenUsage {
		inputTokens: number;
		outputTokens: number;
	}
	interface UpdateAgent {
		name?: string;
		adapterType?: "echo" | "llm";
		adapterConfig?: LlmConfig | null;
	}
	interface UpdateConversation {
		title?: string | null;
		agentId?: string | null;
	}
	interface ListConversationsQuery {
		limit?: number;
		cursor?: string;
		archived?: "false" | "true" | "all";
		agentId?: string;
		q?: string;
	}
	interface DeleteConversationQuery {
		erase?: "false" | "true";
	}
	interface ListMessagesQuery {
		limit?: number;
		cursor?: string;
		order?: "asc" | "desc";
		superseded?: "exclude" | "include";
		render?: "html";
	}
	interface ListBookmarksQuery {
		limit?: number;
		cursor?: string;
	}
	interface SearchQuery {
		q: string;
		archived?: "false" | "true" | "all";
		limit?: number;
		cursor?: string;
	}
	interface ExportConversationQuery {
		format?: "markdown" | "json";
	}
	interface StreamAnswerQuery {
		whenBusy?: "reject" | "interrupt" | "enqueue";
		onDisconnect?: "cancel" | "continue";
		triggerMessageId?: string;
		lastEventId?: string;
	}
	interface SendAndStreamQuery {
		whenBusy?: "reject" | "interrupt" | "enqueue";
		onDisconnect?: "cancel" | "continue";
	}
	interface ListAgentsQuery {
		status?: "active" | "all";
		limit?: number;
		cursor?: string;
	}
	interface ListProvidersQuery {
		companyId?: string;
	}
	interface SignOutQuery {
		everywhere?: "true" | "false";
	}
}
