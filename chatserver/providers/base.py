"""The interface of all providers: a prompt in, an async stream of deltas out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a prompt; `content` is never empty."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The input of one answer.

    `turns` are in reading order and end with the user message to answer. They are empty if there is none; then only a
    provider with `needs_user_turn = False` is asked. `model`, `temperature` and `max_tokens` come from the agent; None
    leaves the choice to the provider's settings.
    """

    turns: tuple[Turn, ...]
    system: str | None = None
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next piece of the model's thinking. It is not part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the provider counted (and bills)."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The last delta of a complete answer.

    `stop_reason` is `stop`, `length`, `content_filter`, or the provider's own word for another reason. `usage` None:
    the provider does not count tokens.
    """

    stop_reason: str
    usage: Usage | None = None


Delta = TextDelta | ReasoningDelta | Finish


class Provider(Protocol):
    """A source of answers.

    `generate` is pulled: between two `__anext__` nothing is taken from the model beyond the network chunk that
    has already arrived, and the pause does not count toward a time-out. It ends after one `Finish`, or raises
    `chatserver.errors.ProviderError` and nothing else. `aclose()`, and a cancellation of a pending `__anext__`,
    return only when the model's connection is closed.

    `needs_user_turn`: it reads a whole conversation, and cannot answer without a question. `max_prompt_chars`: how long
    a prompt may be; of the messages before the question, the newest that fit are sent.

    A consumer that paused before it takes the next delta sends True (`asend(True)`, in place of `__anext__()`). If the
    model had hung up by then, the error that follows has `in_pause`: the pause is to blame, not the model.
    """

    needs_user_turn: bool
    max_prompt_chars: int

    def generate(self, prompt: Prompt) -> AsyncGenerator[Delta, bool | None]: ...

    def close(self) -> None:
        """Close what the provider keeps between answers (idle connections)."""
