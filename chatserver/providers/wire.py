"""The interface of a wire format: it writes requests, and reads the events of responses. No I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from chatserver.providers.base import Delta, Prompt, ReasoningDelta, TextDelta, Turn, Usage

NO_DELTAS: tuple[Delta, ...] = ()


class ResponseReader(ABC):
    """Reads the events of one response into the deltas of an answer.

    `stop_reason`: None until the model has given one, then normalised as for `Finish`. From then on the answer is
    whole, whatever happens to the connection. `over`: nothing more will come. `usage`: the tokens counted so far.
    """

    __slots__ = ("over", "stop_reason", "usage")

    def __init__(self) -> None:
        self.stop_reason: str | None = None
        self.over = False
        self.usage: Usage | None = None

    @abstractmethod
    def read(self, data: str) -> tuple[Delta, ...]:
        """The deltas in the data of one event, or in the JSON body of a server that does not stream.

        The text is as the model sent it: it may hold NUL, and halves of surrogate pairs. Raises AttemptError if an
        error is reported, and ValueError, LookupError, TypeError, AttributeError or RecursionError if the data is not
        JSON or has an unknown shape.
        """


def text_deltas(piece: str) -> tuple[Delta, ...]:
    """A piece of the answer as deltas: none if it is empty. Raises TypeError if it is not text."""
    if not isinstance(piece, str):
        raise TypeError
    return (TextDelta(piece),) if piece else NO_DELTAS


def reasoning_deltas(piece: str) -> tuple[Delta, ...]:
    """A piece of the thinking as deltas: none if it is empty. Raises TypeError if it is not text."""
    if not isinstance(piece, str):
        raise TypeError
    return (ReasoningDelta(piece),) if piece else NO_DELTAS


class WireFormat(Protocol):
    """The wire format of one provider, with its settings and credentials."""

    @property
    def url(self) -> str:
        """The address of requests."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of requests: credentials, the version of the API."""

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """The JSON body of a request."""

    def reader(self) -> ResponseReader:
        """A new reader for one response."""


def messages_of(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """The turns, as both formats have them."""
    return [{"role": turn.role, "content": turn.content} for turn in turns]
