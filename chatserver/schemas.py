"""What goes over the wire, and its bounds: bodies in, resources out (camelCase JSON)."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from chatserver.schema_types import BLANK_IS_NONE, WHOLE, Id, Text, Time, Wire, absent_is_no_default

MAX_TITLE_CHARS = 200
MAX_NAME_CHARS = 200
MAX_SYSTEM_PROMPT_CHARS = 100_000

Content = Annotated[Text, StringConstraints(min_length=1)]
Title = Annotated[Text, StringConstraints(max_length=MAX_TITLE_CHARS)]
Name = Annotated[
    Text,
    StringConstraints(min_length=1, max_length=MAX_NAME_CHARS, pattern=r"\S"),
    # The same and that of a Text, for regular expressions of every kind (JavaScript's \s has no U+0085).
    Field(json_schema_extra={"pattern": r"^[^\u0000]*[^\s\u0085\u0000][^\u0000]*$"}),
]
Role = Literal["user", "assistant", "system"]

# --- conversations ----------------------------------------------------------------------------------------


class ActiveRun(Wire):
    """The answer that is being generated in a conversation."""

    trigger_message_id: Annotated[
        Id | None, Field(description="The message that is being answered; null where there was none.")
    ]
    started_at: Time


class Conversation(Wire):
    """A conversation of a company with an agent."""

    id: Id
    company_id: Id
    title: Annotated[str | None, Field(description="Without one, the first line of the first user message becomes it.")]
    agent_id: Annotated[Id | None, Field(description="Who answers, unless a message names another agent.")]
    pinned_at: Time | None
    archived_at: Time | None
    deleted_at: Time | None
    created_at: Time
    updated_at: Annotated[Time, Field(description="Moved by every change and every new message.")]
    parent_conversation_id: Annotated[Id | None, Field(description="Where it was branched from.")]
    branch_from_message_id: Annotated[
        Id | None, Field(description="The last message, over there, that was taken along.")
    ]
    active_run: Annotated[ActiveRun | None, Field(description="Null unless an answer is being generated.")]


OptionalTitle = Annotated[Title | None, BLANK_IS_NONE]


class CreateConversation(Wire):
    """Body of POST …/conversations. A blank title is none, so that the first message names the conversation."""

    title: OptionalTitle = None
    agent_id: Id | None = None


class UpdateConversation(Wire):
    """Body of PATCH …/conversations/{id}: only the keys that are present change; null clears."""

    model_config = ConfigDict(json_schema_extra=absent_is_no_default)

    title: OptionalTitle = None
    agent_id: Id | None = None

    def changes(self) -> dict[str, Any]:
        """The present keys by column name."""
        return {name: getattr(self, name) for name in self.model_fields_set}


# --- messages ---------------------------------------------------------------------------------------------


class TokenUsage(Wire):
    """Tokens as the provider counted them."""

    input_tokens: Annotated[int, Field(description="Tokens that the model was given.")]
    output_tokens: Annotated[int, Field(description="Tokens that the model made.")]


class ChatMessage(Wire):
    """One message. Its effective content is `editedContent`, else `content`."""

    id: Id
    conversation_id: Id
    role: Role
    content: Annotated[str, Field(description="As it was first written.")]
    agent_id: Annotated[Id | None, Field(description="Of a user message: who shall answer it. Of an answer: who did.")]
    created_at: Time
    edited_content: Annotated[
        str | None, Field(description="The newest wording, which counts instead of `content`; null: never edited.")
    ]
    edited_at: Time | None
    reply_to: Annotated[Id | None, Field(description="Of an answer: the message that it answers.")]
    status: Annotated[
        Literal["completed", "stopped"],
        Field(description="`stopped`: the kept part of an answer that somebody stopped."),
    ]
    superseded_at: Annotated[Time | None, Field(description="When a rewind took it back; models do not see it.")]
    usage: Annotated[TokenUsage | None, Field(description="Of an answer, where the provider counts.")]

    @property
    def effective_content(self) -> str:
        """What counts: the newest wording."""
        return self.content if self.edited_content is None else self.edited_content


class RenderedMessage(ChatMessage):
    """A message with its effective content as HTML."""

    html: Annotated[
        str | None,
        Field(
            description="Of an answer; safe to put into a page: no scripts, no styles, nothing is loaded. Null for "
            "other messages, and where it could not be made, or not in time: show the text then."
        ),
    ]


class CreateMessage(Wire):
    """Body of POST …/messages."""

    role: Role
    content: Content
    agent_id: Annotated[
        Id | None,
        Field(description="Who shall answer it, instead of the conversation's agent."),
    ] = None


class EditMessage(Wire):
    """Body of PUT …/messages/{messageId}."""

    content: Content


class StreamMessage(Wire):
    """Body of POST …/stream."""

    content: Content
    agent_id: Annotated[
        Id | None,
        Field(description="Who shall answer it, instead of the conversation's agent."),
    ] = None


class StopAnswer(Wire):
    """Body of POST …/stop; `keep` makes what was shown so far a message."""

    keep: bool = False


class Stopped(Wire):
    """Whether an answer was being generated and is not any more."""

    stopped: bool


class Superseded(Wire):
    """How many messages a rewind superseded."""

    superseded: int


class BranchConversation(Wire):
    """Body of POST …/branch: the last message that the new conversation takes along."""

    message_id: Id


# --- agents -----------------------------------------------------------------------------------------------


class LlmConfig(Wire):
    """`adapterConfig`. An agent of type `llm` needs a provider; what else is null is left to that provider.

    Of an `echo` it is `{}`, whatever is sent.
    """

    provider: Name | None = None
    model: Name | None = None
    system_prompt: Annotated[Text, StringConstraints(max_length=MAX_SYSTEM_PROMPT_CHARS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    # The validator comes last: pydantic would not tell the bounds in JSON Schema otherwise.
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000), WHOLE] | None = None


AdapterType = Literal["echo", "llm"]

# The service holds this rule; here it is told in JSON Schema.
_LLM_NEEDS_A_PROVIDER: JsonDict = {
    "if": {"properties": {"adapterType": {"const": "llm"}}},
    "then": {
        "properties": {
            "adapterConfig": {
                "type": "object",
                "properties": {"provider": True},
                "required": ["provider"],
            }
        },
        "required": ["adapterConfig"],
    },
}


class Agent(Wire):
    """Somebody who answers: which adapter generates, and how it is set."""

    id: Id
    company_id: Id
    name: str
    adapter_type: AdapterType
    adapter_config: Annotated[dict[str, Any], Field(description="What of LlmConfig was given; empty for an `echo`.")]
    status: Literal["active"]
    created_at: Time
    updated_at: Time


class CreateAgent(Wire):
    """Body of POST …/agents; an `llm` needs a provider, one that the operator configured."""

    model_config = ConfigDict(json_schema_extra=_LLM_NEEDS_A_PROVIDER)

    name: Name
    adapter_type: AdapterType
    adapter_config: LlmConfig | None = None


class UpdateAgent(Wire):
    """Body of PATCH /agents/{id}: only the keys that are present change; `adapterConfig` is replaced as a whole."""

    model_config = ConfigDict(json_schema_extra=absent_is_no_default)

    name: Name = ""
    adapter_type: AdapterType = "echo"
    adapter_config: LlmConfig | None = None


# --- what is found, kept and taken along ------------------------------------------------------------------


class SnippetPart(Wire):
    """A piece of a snippet: plain text, never markup."""

    text: str
    hit: Annotated[bool, Field(description="Whether it is what was looked for.")]


class SearchHit(Wire):
    """A message, or the title of a conversation, in which all was found that was looked for."""

    message: Annotated[ChatMessage | None, Field(description="Null where the title was found.")]
    conversation: Conversation
    snippet: Annotated[
        list[SnippetPart],
        Field(description="From the message's effective content, or the title; the texts joined are what to show."),
    ]


class Bookmark(Wire):
    """A message that a company wants to find again."""

    message: ChatMessage
    conversation: Conversation
    created_at: Annotated[Time, Field(description="When it was bookmarked first.")]


class ExportedMessage(ChatMessage):
    """A message with the name of who answered."""

    agent_name: Annotated[
        str | None, Field(description="That of the agent in `agentId`, deleted or not; null where none is registered.")
    ]


class ConversationExport(Wire):
    """A conversation with all its messages, superseded ones included, in their order."""

    format: Literal["chatserver.conversation"] = "chatserver.conversation"
    version: Annotated[Literal[1], Field(description="Another one where a reader of this one would go wrong.")] = 1
    exported_at: Time
    conversation: Conversation
    messages: list[ExportedMessage]  # comes last: they are written one by one


# --- lists and errors -------------------------------------------------------------------------------------

T = TypeVar("T")


class Page(Wire, Generic[T]):
    """One page of a list; `next_cursor` asks for the one after it."""

    items: list[T]
    has_more: bool
    next_cursor: Annotated[str | None, Field(description="Null on the last page.")]


class Detail(Wire):
    path: Annotated[str, Field(description="Where: dotted, camelCase; empty for the body as a whole.")]
    message: Annotated[str, Field(description="What.")]


class Error(Wire):
    """The body of every refusal."""

    model_config = ConfigDict(json_schema_extra=absent_is_no_default)

    error: Annotated[str, Field(description="For people; not to be parsed.")]
    details: Annotated[
        list[Detail] | SkipJsonSchema[None],
        Field(description="What is wrong with a body or query; only there where that is what is wrong."),
    ] = None


class Company(Wire):
    id: Id


class SessionActor(Wire):
    name: str


class SignIn(Wire):
    """Body of POST /session."""

    model_config = ConfigDict(json_schema_extra=absent_is_no_default)

    token: Annotated[Text, Field(min_length=1, description="As `chatserver token create` printed it.")] = ""


class Session(Wire):
    """Who is asking, and which companies the page should show them."""

    mode: Literal["local_trusted", "authenticated"]
    actor: Annotated[SessionActor | None, Field(description="Null: not signed in.")]
    companies: Annotated[list[Company], Field(description="The first is the one to begin with.")]
