"""Reading events that differ from each other only in one text; no I/O.

A model sends the same event again and again, with the next piece of its answer in it. To parse all of it for each piece
costs several times what the piece itself costs.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from chatserver.providers.event_decoder import ServerEvent

_decode = json.JSONDecoder().raw_decode
# Servers write other characters than ASCII in one of two ways.
_ENCODERS = tuple(json.JSONEncoder(ensure_ascii=ascii_only).encode for ascii_only in (False, True))
_ANOTHER_TEXT = "another text"
# Some models send something new in each event. After so many events that were learnt in vain, no more are.
_PATIENCE = 8


class RepeatedEvent:
    """An event around the string that is its text.

    What reads the same before and after a JSON string is the same JSON but for that string. So an event is learnt only
    if its text is all that it says, and another text in its place would be, too; the one who learns it tells.
    """

    __slots__ = ("_after", "_before", "_name", "_patience")

    def __init__(self) -> None:
        self._name = ""
        self._before: str | None = None  # up to and with the quote before the text
        self._after = ""
        self._patience = _PATIENCE

    def text_in(self, event: ServerEvent) -> str | None:
        """The text of an event, if the rest of it is what was learnt; else None."""
        data, name = event
        before = self._before
        if before is None or not data.startswith(before) or name != self._name:
            return None
        try:
            text, end = _decode(data, len(before) - 1)
        except ValueError:
            return None
        if data[end:] != self._after:
            return None
        self._patience = _PATIENCE
        return text  # type: ignore[no-any-return]

    def learn(self, event: ServerEvent, text: str, text_of: Callable[[ServerEvent], str | None]) -> None:
        """Learn an event whose text is `text`. `text_of` reads an event alone; None if it says more than a text."""
        if not self._patience:
            return
        self._patience -= 1
        self._before = None
        for encode in _ENCODERS:
            before, found, after = event.data.partition(encode(text))
            if found and text_of(ServerEvent(f'{before}"{_ANOTHER_TEXT}"{after}', event.name)) == _ANOTHER_TEXT:
                self._name, self._before, self._after = event.name, f'{before}"', after
                return
