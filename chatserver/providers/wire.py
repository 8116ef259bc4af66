"""The interface of a wire format: it writes requests, and reads the events of responses. No I/O."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from re import Pattern
from typing import Any, Protocol

from chatserver.providers.base import Delta, Prompt, TextDelta, Turn, Usage
from chatserver.providers.error_events import error_of_event, error_of_text
from chatserver.providers.event_decoder import ServerEvent
from chatserver.providers.failures import AttemptError
from chatserver.providers.json_content import NO_DELTAS
from chatserver.providers.repeated_events import RepeatedEvent
from chatserver.providers.stop_reasons import stop_reason_of

_decode = json.JSONDecoder().raw_decode


# What begins like this was meant to be an object, or a list of objects or texts, and may have held text.
_BROKEN_JSON = re.compile(r"\s*(?:\{|\[\s*[\[{\"])")


class UnreadableError(Exception):
    """An event that should be JSON is none"""


class ResponseReader(ABC):
    """Reads the events of one response into the deltas of an answer.

    `stop_reason`: None until the model has given one, then normalised as for `Finish`. From then on the answer is
    whole if nothing but the connection fails; text that follows takes the reason back. `over`: nothing more will come.
    `usage`: the tokens counted so far. `has_whole`: a message came that may be the whole answer.
    """

    __slots__ = ("_reason_given", "_repeated", "_retracted", "_streamed", "has_whole", "over", "stop_reason", "usage")

    def __init__(self) -> None:
        self.stop_reason: str | None = None
        self.over = False
        self.usage: Usage | None = None
        self.has_whole = False
        self._reason_given = False
        self._retracted: str | None = None
        self._streamed: set[type[Delta]] = set()
        self._repeated = RepeatedEvent()

    def read(self, event: ServerEvent) -> tuple[Delta, ...]:
        """The deltas of one event, or of the JSON body of a server that does not stream.

        The text is as the model sent it: it may hold NUL, and halves of surrogate pairs. An event that is no JSON
        object has no deltas. Raises AttemptError if an error is reported, and UnreadableError for broken JSON.
        """
        if self.stop_reason is not None:
            return self._read(event)
        if (text := self._repeated.text_in(event)) is not None:
            return (TextDelta(text),) if text else NO_DELTAS
        deltas = self._read(event)
        if len(deltas) == 1 and type(delta := deltas[0]) is TextDelta:
            self._repeated.learn(event, delta.text, self._text_of)
        return deltas

    def _text_of(self, event: ServerEvent) -> str | None:
        """The text that an event adds to an answer; None if it says anything else, or is no event."""
        alone = type(self)()
        try:
            deltas = alone._read(event)
        except (AttemptError, UnreadableError):
            return None
        if alone.stop_reason is not None or alone.usage is not None or alone.has_whole or alone.over:
            return None
        return deltas[0].text if len(deltas) == 1 and type(deltas[0]) is TextDelta else None

    def _read(self, event: ServerEvent) -> tuple[Delta, ...]:
        try:
            value = _parsed(event.data)
        except (ValueError, RecursionError):
            value = event.data
            if _BROKEN_JSON.match(value):
                raise UnreadableError from None
        self._reason_given = False
        deltas = self._take_event(value, event.name) if type(value) is dict else self._take_other(value, event.name)
        if deltas and self.stop_reason is not None and not self._reason_given and not self.over:
            self._retracted, self.stop_reason = self.stop_reason, None
        return deltas

    def end(self) -> None:
        """The model says that the answer has ended, or its whole body has come."""
        self.stop_reason = self.stop_reason or self._retracted or "stop"
        self.over = True

    def _take_event(self, event: dict[str, Any], name: str) -> tuple[Delta, ...]:
        if (error := error_of_event(event, name)) is not None:
            raise error
        return self._take(event)

    def _take_other(self, value: Any, name: str) -> tuple[Delta, ...]:
        """The deltas of what is no JSON object: a list of objects has some."""
        if isinstance(value, list):
            objects = (inner for inner in value if isinstance(inner, dict))
            return tuple(delta for inner in objects for delta in self._take_event(inner, name))
        text = value if isinstance(value, str) else ""
        if text.startswith("{"):  # an object that was encoded twice
            return self.read(ServerEvent(text, name))
        if (error := error_of_text(text, name)) is not None:
            raise error
        if _says_done(text):
            self.end()
        return NO_DELTAS

    @abstractmethod
    def _take(self, event: dict[str, Any]) -> tuple[Delta, ...]:
        """The deltas of one JSON object that reports no error at its top. Raises AttemptError."""

    def _stop(self, word: Any) -> None:
        """Take in a stop reason in the model's words. Raises AttemptError if it names a failure."""
        if word and (reason := stop_reason_of(word)) is not None:
            self.stop_reason = reason
            self._reason_given = True

    def _note(self, deltas: tuple[Delta, ...]) -> tuple[Delta, ...]:
        """The deltas of a piece of a message, noted as such."""
        for delta in deltas:
            self._streamed.add(type(delta))
        return deltas

    def _whole(self, deltas: tuple[Delta, ...]) -> tuple[Delta, ...]:
        """The deltas of a message that may be the whole one, without those kinds that came in pieces before."""
        self.has_whole = True
        return tuple(delta for delta in deltas if type(delta) not in self._streamed)


def _parsed(data: str) -> Any:
    """What `json.loads` gives, in less time if there is no white space around it."""
    try:
        value, end = _decode(data)
        if end == len(data):
            return value
    except ValueError:
        pass
    return json.loads(data, parse_int=_bounded_int)


def _bounded_int(digits: str) -> int | None:
    """A number of JSON; None for one that Python refuses to read because of its length."""
    return int(digits) if len(digits) <= 4_000 else None


def _says_done(text: str) -> bool:
    text = text.strip().upper()
    return text.startswith("[DONE]") or text == "DONE"


NO_FIELDS: AbstractSet[str] = frozenset()
# Some models cannot stream, or not for everybody. An English text has this word, too, so it counts only in quotes.
STREAM_FIELD = {"stream": re.compile(r"[\"'`]stream[\"'`](?!\s*:)")}


class WireFormat(Protocol):
    """The wire format of one provider, with its settings and credentials."""

    @property
    def url(self) -> str:
        """The address of requests."""

    @property
    def optional_fields(self) -> Mapping[str, Pattern[str]]:
        """Fields that are sent without anybody's wish, and how the text of an error, in lower case, names them."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of requests: credentials, the version of the API."""

    def body(self, prompt: Prompt, without: AbstractSet[str] = NO_FIELDS) -> dict[str, Any]:
        """The JSON body of a request, without these of the optional fields."""

    def reader(self) -> ResponseReader:
        """A new reader for one response."""


def messages_of(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """The turns, as both formats have them."""
    return [{"role": turn.role, "content": turn.content} for turn in turns]
