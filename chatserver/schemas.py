"""What goes over the wire, and its bounds: bodies in, resources out (camelCase JSON)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)
from pydantic.alias_generators import to_camel

MAX_TITLE_CHARS = 200
MAX_NAME_CHARS = 200
MAX_SYSTEM_PROMPT_CHARS = 100_000


class Wire(BaseModel):
    """Base of all that is sent or received: camelCase keys, unknown keys ignored, no coercion between types."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, strict=True)


# --- scalar types -----------------------------------------------------------------------------------------


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def parse_uuid(text: str) -> UUID:
    """The id that `text` writes in the 36-character form.

    Raises ValueError for anything else; `uuid.UUID` itself would also take braces, URNs and missing hyphens.
    """
    if _UUID.fullmatch(text) is None:
        raise ValueError("must be a UUID in its 36-character form")
    return UUID(text)


def _uuid(value: object) -> object:
    return parse_uuid(value) if isinstance(value, str) else value


def _storable(value: object) -> object:
    """Refuse what PostgreSQL cannot keep in a text: NUL and lone surrogates."""
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("must not contain NUL characters")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("must not contain lone surrogates") from None
    return value


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Id = Annotated[UUID, BeforeValidator(_uuid)]
Text = Annotated[str, BeforeValidator(_storable)]
Content = Annotated[Text, StringConstraints(min_length=1)]
Title = Annotated[Text, StringConstraints(max_length=MAX_TITLE_CHARS)]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=MAX_NAME_CHARS, pattern=r"\S")]
Time = Annotated[datetime, PlainSerializer(format_time, return_type=str, when_used="json")]
Role = Literal["user", "assistant", "system"]

# --- conversations ----------------------------------------------------------------------------------------


class ActiveRun(Wire):
    """The answer that is being generated in a conversation."""

    trigger_message_id: Id | None
    started_at: Time


class Conversation(Wire):
    """A conversation of a company with an agent."""

    id: Id
    company_id: Id
    title: str | None
    agent_id: Id | None
    pinned_at: Time | None
    archived_at: Time | None
    deleted_at: Time | None
    created_at: Time
    updated_at: Time
    parent_conversation_id: Id | None
    branch_from_message_id: Id | None
    active_run: ActiveRun | None


OptionalTitle = Annotated[Title | None, BeforeValidator(_blank_is_none)]


class CreateConversation(Wire):
    """Body of POST …/conversations. A blank title is none, so that the first message names the conversation."""

    title: OptionalTitle = None
    agent_id: Id | None = None


class UpdateConversation(Wire):
    """Body of PATCH …/conversations/{id}: only the keys that are present change; null clears."""

    title: OptionalTitle = None
    agent_id: Id | None = None

    def changes(self) -> dict[str, Any]:
        """The present keys by column name."""
        return {name: getattr(self, name) for name in self.model_fields_set}


# --- messages ---------------------------------------------------------------------------------------------


class TokenUsage(Wire):
    """Tokens as the provider counted them."""

    input_tokens: int
    output_tokens: int


class ChatMessage(Wire):
    """One message. Its effective content is `edited_content`, else `content`."""

    id: Id
    conversation_id: Id
    role: Role
    content: str
    agent_id: Id | None
    created_at: Time
    edited_content: str | None
    edited_at: Time | None
    reply_to: Id | None
    status: Literal["completed", "stopped"]
    superseded_at: Time | None
    usage: TokenUsage | None


class CreateMessage(Wire):
    """Body of POST …/messages."""

    role: Role
    content: Content
    agent_id: Id | None = None


class EditMessage(Wire):
    """Body of PUT …/messages/{messageId}."""

    content: Content


class StreamMessage(Wire):
    """Body of POST …/stream."""

    content: Content
    agent_id: Id | None = None


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
    """`adapterConfig`. An agent of type `llm` needs a provider; what else is None is left to that provider.

    Of an `echo` it is `{}`, whatever is sent.
    """

    provider: Name | None = None
    model: Name | None = None
    system_prompt: Annotated[Text, StringConstraints(max_length=MAX_SYSTEM_PROMPT_CHARS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None


AdapterType = Literal["echo", "llm"]


class Agent(Wire):
    """Somebody who answers: which adapter generates, and how it is set."""

    id: Id
    company_id: Id
    name: str
    adapter_type: AdapterType
    adapter_config: dict[str, Any]
    status: Literal["active"]
    created_at: Time
    updated_at: Time


class CreateAgent(Wire):
    """Body of POST …/agents."""

    name: Name
    adapter_type: AdapterType
    adapter_config: LlmConfig | None = None


class UpdateAgent(Wire):
    """Body of PATCH /agents/{id}: only the keys that are present change."""

    name: Name = ""
    adapter_type: AdapterType = "echo"
    adapter_config: LlmConfig | None = None


# --- lists and errors -------------------------------------------------------------------------------------

T = TypeVar("T")


class Page(Wire, Generic[T]):
    """One page of a list; `next_cursor` asks for the one after it."""

    items: list[T]
    has_more: bool
    next_cursor: str | None


class Detail(Wire):
    path: str
    message: str


class Error(Wire):
    """The body of every refusal."""

    error: str
    details: list[Detail] | None = None


class Company(Wire):
    id: Id


class SessionActor(Wire):
    name: str


class Session(Wire):
    """Who is asking, and which companies the page should show them."""

    mode: Literal["local_trusted", "authenticated"]
    actor: SessionActor | None
    companies: list[Company]
