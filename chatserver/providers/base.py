"""The interface of all providers: a prompt in, batches of deltas pushed into a sink."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chatserver.message_schemas import Role


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


# Deltas are not frozen: there is one for each token, and that would make them three times as dear.


@dataclass(slots=True)
class TextDelta:
    """The next piece of the answer."""

    text: str


@dataclass(slots=True)
class ReasoningDelta:
    """The next piece of the model's thinking. It is not part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the provider counted (and bills)."""

    input_tokens: int
    output_tokens: int


Delta = TextDelta | ReasoningDelta


@dataclass(frozen=True, slots=True)
class Finish:
    """How a complete answer ended.

    `stop_reason` is `stop`, `length`, `content_filter`, or the provider's own word for another reason. `usage` None:
    the provider does not count tokens.
    """

    stop_reason: str
    usage: Usage | None = None


class Sink(Protocol):
    """Where a provider puts an answer, and by which it is held back."""

    @property
    def wanted(self) -> bool:
        """Whether somebody wants the answer now: then `push` takes a single delta at once."""

    def push(self, deltas: Sequence[Delta]) -> Awaitable[bool] | None:
        """Take the next deltas.

        None: they are taken. Else the provider must await the result once, and until then take nothing from the model
        and push nothing. It is True if nobody wanted the answer meanwhile, False if the deltas were only too many for
        one turn of the loop. Raises ProviderError if the answer cannot be used.
        """


class Provider(Protocol):
    """A source of answers.

    `needs_user_turn`: it reads a whole conversation, and cannot answer without a question. `max_prompt_chars`: how long
    a prompt may be; of the messages before the question, the newest that fit are sent. `model` answers where a prompt
    names none; None: it has no name.
    """

    model: str | None
    needs_user_turn: bool
    max_prompt_chars: int

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        """Push the answer into the sink; how it ended.

        Raises ProviderError, and what the sink raises. While the sink holds the answer back, nothing is taken from the
        model beyond what has already arrived, and no time-out runs. If the model had hung up by the end of a pause, the
        error that follows has `in_pause`: the pause is to blame, not the model.

        The model's connection is closed by the end of this in every case, also when it is cancelled.
        """

    def close(self) -> None:
        """Close what the provider keeps between answers."""
