"""What every model looks like to the rest: a prompt in, an async stream of deltas out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message as a model sees it; `content` is never empty."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that one answer is made from.

    `turns` stand in the order in which they are to be read and end with the user message to answer; they are
    empty when there is none (only a provider with `needs_user_turn = False` is asked then). `model`,
    `temperature` and `max_tokens` come from the agent; None leaves the choice to the provider's own settings.
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
    """The next piece of the model's thinking, no part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the provider counted (and bills)."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The last delta of an answer that came to its end.

    `stop_reason` is `stop`, `length` or `content_filter`; a reason that is none of these keeps the provider's
    own word. `usage` is None where the provider does not count.
    """

    stop_reason: str
    usage: Usage | None = None


Delta = TextDelta | ReasoningDelta | Finish


class Provider(Protocol):
    """A source of answers.

    `generate` is pulled: between two `__anext__` nothing is taken from the model beyond the network chunk that
    is already here, and such a pause counts toward no time-out. It ends after one `Finish`, or raises
    `chatserver.errors.ProviderError`; nothing else. `aclose()`, and a cancellation of a pending `__anext__`,
    return only when the model's connection is closed.
    """

    needs_user_turn: bool

    def generate(self, prompt: Prompt) -> AsyncGenerator[Delta]: ...

    def close(self) -> None:
        """Give back what the provider holds across answers (idle connections)."""
