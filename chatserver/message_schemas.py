"""Messages as they go over the wire; the bodies of requests about them are in `schemas.py`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chatserver.errors import ErrorCode
from chatserver.schema_types import Id, Time, Wire

Role = Literal["user", "assistant", "system"]


class TokenUsage(Wire):
    """The tokens that the provider counted."""

    input_tokens: Annotated[int, Field(description="Tokens of the prompt.")]
    output_tokens: Annotated[int, Field(description="Tokens of the answer.")]


class Author(Wire):
    """Who wrote a message."""

    name: str


class Failure(Wire):
    """How the newest answer to a message failed: what its `error` event said."""

    code: Annotated[ErrorCode, Field(description="As in the `error` event.")]
    error: Annotated[str, Field(description="A message for people.")]
    retryable: Annotated[bool, Field(description="Whether asking again may help.")]


class ChatMessage(Wire):
    """One message. Its effective content is `editedContent`, else `content`."""

    id: Id
    conversation_id: Id
    role: Role
    content: Annotated[str, Field(description="The original wording.")]
    agent_id: Annotated[
        Id | None,
        Field(description="The agent that answered; on a user message the one that shall answer."),
    ]
    created_at: Time
    edited_content: Annotated[
        str | None, Field(description="The wording that replaces `content`; null: the original one.")
    ]
    edited_at: Time | None
    reply_to: Annotated[Id | None, Field(description="On an answer: the message that it answers.")]
    status: Annotated[
        Literal["completed", "stopped"],
        Field(description="`stopped`: the kept part of an answer that was stopped."),
    ]
    superseded_at: Annotated[
        Time | None,
        Field(
            description="When it was superseded; what was superseded together has the same time. Models do not see it."
        ),
    ]
    usage: Annotated[TokenUsage | None, Field(description="On an answer, if the provider counts tokens.")]
    model: Annotated[
        str | None,
        Field(description="On an answer: what answered, as its agent names it, or else the provider's configuration."),
    ]
    stop_reason: Annotated[
        str | None,
        Field(description="On an answer: why it ended, as in the `done` event; `length` if it reached its limit."),
    ]
    duration_ms: Annotated[
        int | None, Field(description="On an answer: how long it was generated, thinking and pauses included.")
    ]
    reasoning: Annotated[str | None, Field(description="On an answer: the model's thinking, which is no part of it.")]
    reasoning_ms: Annotated[int | None, Field(description="On an answer with thinking: how long the model thought.")]
    author: Annotated[Author | None, Field(description="Who wrote it; null where nobody is signed in.")]
    failure: Annotated[
        Failure | None,
        Field(
            description="On a user message whose newest answer ended in `error`. Null otherwise: also once it is being "
            "answered again."
        ),
    ]

    @property
    def effective_content(self) -> str:
        """The newest wording."""
        return self.content if self.edited_content is None else self.edited_content


class FormerAnswer(Wire):
    """A superseded answer, which `restore` makes live again."""

    id: Id
    created_at: Time


class VersionedMessage(ChatMessage):
    """A message with what it was answered before."""

    former_answers: Annotated[
        list[FormerAnswer] | None,
        Field(
            description="On a user message: the superseded answers to it, oldest first; empty if there are none. "
            "Null on other messages."
        ),
    ]


class RenderedMessage(VersionedMessage):
    """A message with its effective content as HTML, and with what it was answered before."""

    html: Annotated[
        str | None,
        Field(
            description="The HTML of an answer, safe to put into a page: no scripts, no styles, nothing is loaded. "
            "Null on other messages, and if it could not be rendered in time: then show the text."
        ),
    ]
