"""Streams: in order, each with one end, and each end explained by what was done."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.torturing.history import Fault, Final, History, Stream
from scripts.torturing.options import Options

# A fault explains what happens within this time after its end, in seconds.
AFTERMATH_SECONDS = 5.0
# The kinds that end connections of clients.
CUTTING = ("kill", "cut", "term")


def check(history: History, _final: Final, _options: Options) -> None:
    for stream in history.streams:
        if stream.disorder:
            _wrong(history, "disorder", stream, stream.disorder)
        if len(stream.terminals) > 1:
            _wrong(history, "two ends", stream, str(stream.terminals))
        if stream.end == "open":
            _wrong(history, "no end", stream, "it is open after all has settled")
        elif stream.end == "clean":
            _check_clean_end(history, stream)
        elif stream.end == "broken":
            _check_broken_end(history, stream)
        for terminal in stream.terminals:
            if terminal["type"] == "stopped":
                _check_stopped(history, stream)


def _check_clean_end(history: History, stream: Stream) -> None:
    """The server ended the response without a terminal event."""
    if stream.last_id is not None and not stream.opened:
        return  # sent away, instead of a refusal; `refusals` looks at these
    if any(fault.kind == "term" for fault in _faults(history, stream)):
        return  # a drain
    _wrong(history, "no terminal event", stream, "the response ended in order")


def _check_broken_end(history: History, stream: Stream) -> None:
    faults = list(_faults(history, stream))
    if stream.head_at <= stream.ended and any(fault.kind in CUTTING for fault in faults):
        return
    if not any(True for _ in faults):
        _wrong(history, "broken stream", stream, "nobody cut it, and no fault explains it")


def _faults(history: History, stream: Stream) -> Iterator[Fault]:
    return history.faults_within(stream.began, stream.ended, stream.process, slack=AFTERMATH_SECONDS)


def _check_stopped(history: History, stream: Stream) -> None:
    """Somebody stopped, interrupted, deleted or erased, before the end was seen.

    When its question is superseded, an answer ends in this way, too, if it still waited for its turn, or if a fault
    held its owner up: then it counts as over.
    """
    conversation = history.conversations[stream.conversation]
    writes = [*conversation.stops, *conversation.deletions, *conversation.erasures]
    trigger = history.messages.get(stream.trigger or "")
    writes += [] if trigger is None else trigger.erasures
    if not stream.text or any(history.faults_within(stream.began, stream.ended)):
        writes += conversation.moves
    if any(write.sent <= stream.ended for write in writes):
        return
    for other in history.streams:
        if (
            other.conversation == stream.conversation
            and other.when_busy == "interrupt"
            and (other.trigger is None or other.trigger != stream.trigger)
            and other.began <= stream.ended
        ):
            return
    _wrong(history, "stopped by nobody", stream, str(stream.terminals))


def _wrong(history: History, kind: str, stream: Stream, text: str) -> None:
    history.violate(kind, f"stream #{stream.number} at p{stream.process}: {text}", stream.conversation, stream.ended)
