"""The bodies of requests and responses, and their bounds (camelCase JSON)."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, StringConstraints, model_serializer
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from chatserver.message_schemas import ChatMessage, Role
from chatserver.role_names import RoleName
from chatserver.schema_types import BLANK_IS_NONE, WHOLE, Id, Text, Time, Wire, absent_is_no_default

MAX_TITLE_CHARS = 200
MAX_NAME_CHARS = 200
MAX_SYSTEM_PROMPT_CHARS = 100_000

Content = Annotated[Text, StringConstraints(min_length=1)]
Title = Annotated[Text, StringConstraints(max_length=MAX_TITLE_CHARS)]
Name = Annotated[
    Text,
    StringConstraints(min_length=1, max_length=MAX_NAME_CHARS, pattern=r"\S"),
    # At least one visible character, for every dialect of regular expressions (JavaScript's \s lacks U+0085).
    Field(json_schema_extra={"pattern": r"^[^\u0000]*[^\s\u0085\u0000][^\u0000]*$"}),
]

# --- conversations ----------------------------------------------------------------------------------------


class ActiveRun(Wire):
    """The answer that is being generated in a conversation."""

    trigger_message_id: Annotated[
        Id | None, Field(description="The message that is being answered; null if there is none.")
    ]
    started_at: Time


class Conversation(Wire):
    """A conversation of a company with an agent."""

    id: Id
    company_id: Id
    title: Annotated[str | None, Field(description="If none is given, the first user message's first visible line.")]
    agent_id: Annotated[Id | None, Field(description="The agent that answers, unless a message names another one.")]
    pinned_at: Time | None
    archived_at: Time | None
    deleted_at: Time | None
    created_at: Time
    updated_at: Annotated[Time, Field(description="Changed by every PATCH and every new message.")]
    parent_conversation_id: Annotated[Id | None, Field(description="The conversation that it was branched from.")]
    branch_from_message_id: Annotated[
        Id | None, Field(description="The last message of that conversation that was copied.")
    ]
    active_run: Annotated[ActiveRun | None, Field(description="Null unless an answer is being generated.")]


OptionalTitle = Annotated[Title | None, BLANK_IS_NONE]


class CreateConversation(Wire):
    """Body of POST …/conversations. A blank title counts as none: the first message then names the conversation."""

    title: OptionalTitle = None
    agent_id: Id | None = None


class UpdateConversation(Wire):
    """Body of PATCH …/conversations/{id}. Only keys that are present change; null clears."""

    model_config = ConfigDict(json_schema_extra=absent_is_no_default)

    title: OptionalTitle = None
    agent_id: Id | None = None

    def changes(self) -> dict[str, Any]:
        """The values of the keys that are present, by column name."""
        return {name: getattr(self, name) for name in self.model_fields_set}


# --- messages ---------------------------------------------------------------------------------------------


class CreateMessage(Wire):
    """Body of POST …/messages."""

    role: Role
    content: Content
    agent_id: Annotated[
        Id | None,
        Field(description="The agent that shall answer it, instead of the conversation's."),
    ] = None


class EditMessage(Wire):
    """Body of PUT …/messages/{messageId}."""

    content: Content


class StreamMessage(Wire):
    """Body of POST …/stream."""

    content: Content
    agent_id: Annotated[
        Id | None,
        Field(description="The agent that shall answer it, instead of the conversation's."),
    ] = None


class StopAnswer(Wire):
    """Body of POST …/stop. `keep`: store what was shown so far as a message."""

    keep: bool = False


class Stopped(Wire):
    """Whether an answer was stopped."""

    stopped: bool


class Superseded(Wire):
    """How many messages a rewind superseded."""

    superseded: int


class Restored(Wire):
    """What a restoration changed."""

    restored: Annotated[int, Field(description="How many messages are live again.")]
    superseded: Annotated[int, Field(description="How many were superseded in exchange.")]


class BranchConversation(Wire):
    """Body of POST …/branch: the last message to copy."""

    message_id: Id


# --- agents -----------------------------------------------------------------------------------------------


class LlmConfig(Wire):
    """`adapterConfig`. An agent of type `llm` needs a provider; other keys that are null are left to the provider.

    For an `echo` it is always `{}`.
    """

    provider: Name | None = None
    model: Name | None = None
    system_prompt: Annotated[Text, StringConstraints(max_length=MAX_SYSTEM_PROMPT_CHARS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    # The validator comes last: else pydantic leaves the bounds out of the JSON Schema.
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000), WHOLE] | None = None


AdapterType = Literal["echo", "llm"]

# The service enforces this rule. Here it is written for the JSON Schema.
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
    """An agent: the adapter that generates its answers, and the adapter's settings."""

    id: Id
    company_id: Id
    name: str
    adapter_type: AdapterType
    adapter_config: Annotated[dict[str, Any], Field(description="The given keys of LlmConfig; empty for an `echo`.")]
    status: Annotated[Literal["active", "removed"], Field(description="`removed`: listed with `status=all` only.")]
    created_at: Time
    updated_at: Time


class CreateAgent(Wire):
    """Body of POST …/agents. An `llm` needs a provider that the operator configured."""

    model_config = ConfigDict(json_schema_extra=_LLM_NEEDS_A_PROVIDER)

    name: Name
    adapter_type: AdapterType
    adapter_config: LlmConfig | None = None


class UpdateAgent(Wire):
    """Body of PATCH /agents/{id}. Only keys that are present change; `adapterConfig` is replaced as a whole."""

    model_config = ConfigDict(json_schema_extra=absent_is_no_default)

    name: Name = ""
    adapter_type: AdapterType = "echo"
    adapter_config: LlmConfig | None = None


# --- what is found, kept and taken along ------------------------------------------------------------------


class SnippetPart(Wire):
    """A piece of a snippet: plain text, never markup."""

    text: str
    hit: Annotated[bool, Field(description="Whether this part matches the query.")]


class SearchHit(Wire):
    """A message, or the title of a conversation, that matches the query."""

    message: Annotated[ChatMessage | None, Field(description="Null if the title matches.")]
    conversation: Conversation
    snippet: Annotated[
        list[SnippetPart],
        Field(description="A piece of the message's effective content, or of the title; join the texts."),
    ]


class Bookmark(Wire):
    """A bookmarked message."""

    message: ChatMessage
    conversation: Conversation
    created_at: Annotated[Time, Field(description="When the bookmark was set first.")]


class ExportedMessage(ChatMessage):
    """A message with the name of the agent that answered."""

    agent_name: Annotated[
        str | None, Field(description="The name of the agent in `agentId`, deleted or not; null if none is registered.")
    ]


class ConversationExport(Wire):
    """A conversation with all its messages in their order, superseded ones included."""

    format: Literal["chatserver.conversation"] = "chatserver.conversation"
    version: Annotated[Literal[1], Field(description="Changes if readers of this format would fail.")] = 1
    exported_at: Time
    conversation: Conversation
    messages: list[ExportedMessage]  # comes last: messages are written one by one


# --- lists and errors -------------------------------------------------------------------------------------

T = TypeVar("T")


class Page(Wire, Generic[T]):
    """One page of a list. `next_cursor` asks for the next page."""

    items: list[T]
    has_more: bool
    next_cursor: Annotated[str | None, Field(description="Null on the last page.")]


class Detail(Wire):
    path: Annotated[str, Field(description="The path of the key: dotted, camelCase; empty for the body as a whole.")]
    message: Annotated[str, Field(description="What is wrong with it.")]


class Error(Wire):
    """The body of every error response."""

    model_config = ConfigDict(json_schema_extra=absent_is_no_default)

    error: Annotated[str, Field(description="A message for people. Programs should go by the status.")]
    details: Annotated[
        list[Detail] | SkipJsonSchema[None],
        Field(description="The faults of a body or query. Present only for a validation error."),
    ] = None


class Company(Wire):
    """A company of the actor's, and what they are there."""

    model_config = ConfigDict(json_schema_extra=absent_is_no_default)

    id: Id
    name: Annotated[
        str | SkipJsonSchema[None], Field(description="What the server's configuration calls it, if it does.")
    ] = None
    role: Annotated[
        RoleName | SkipJsonSchema[None],
        Field(description="What the actor may do there; absent where everyone may all."),
    ] = None

    @model_serializer(mode="wrap")
    def _leave_out_what_is_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class SessionActor(Wire):
    name: str


class SignIn(Wire):
    """Body of POST /session."""

    model_config = ConfigDict(json_schema_extra=absent_is_no_default)

    token: Annotated[Text, Field(min_length=1, description="The token that `chatserver token create` printed.")] = ""


class Session(Wire):
    """The actor, and the companies that the page should show."""

    mode: Literal["local_trusted", "authenticated", "proxy"]
    actor: Annotated[SessionActor | None, Field(description="Null: nobody is signed in.")]
    companies: Annotated[list[Company], Field(description="A page begins with the first one.")]
