"""What a wire format must know: how a request is put, and how the events of its answer are read. No I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from chatserver.providers.base import Delta, Prompt, ReasoningDelta, TextDelta, Turn, Usage

NO_DELTAS: tuple[Delta, ...] = ()


class AnswerReader(ABC):
    """Reads the events of one answer.

    `stop_reason` is None until the model has said why it stopped, normalised as `Finish` wants it; from then on the
    answer is whole, whatever becomes of the connection. `over`: nothing more is to be expected. `usage` is what the
    provider counted, as far as it is known.
    """

    __slots__ = ("over", "stop_reason", "usage")

    def __init__(self) -> None:
        self.stop_reason: str | None = None
        self.over = False
        self.usage: Usage | None = None

    @abstractmethod
    def read(self, data: str) -> tuple[Delta, ...]:
        """The deltas in the data of one event, or in the JSON body of a server that does not stream.

        The text is the model's as it came: it may hold NUL, and halves of surrogate pairs. Raises AttemptError where
        an error is reported, and ValueError, LookupError, TypeError, AttributeError or RecursionError where the data
        is no JSON or has no shape that can be read.
        """


def text_deltas(piece: str) -> tuple[Delta, ...]:
    """A piece of the answer as deltas: none if it is empty. Raises TypeError where it is no text."""
    if not isinstance(piece, str):
        raise TypeError
    return (TextDelta(piece),) if piece else NO_DELTAS


def reasoning_deltas(piece: str) -> tuple[Delta, ...]:
    """A piece of the thinking as deltas: none if it is empty. Raises TypeError where it is no text."""
    if not isinstance(piece, str):
        raise TypeError
    return (ReasoningDelta(piece),) if piece else NO_DELTAS


class WireFormat(Protocol):
    """How one kind of model is spoken to, and with which settings and credentials."""

    @property
    def url(self) -> str:
        """Where requests go."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What is said beside the usual: credentials, the version of the API."""

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """The JSON of the request."""

    def reader(self) -> AnswerReader:
        """A reader for one answer."""


def messages_of(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """The turns as both formats put them."""
    return [{"role": turn.role, "content": turn.content} for turn in turns]
