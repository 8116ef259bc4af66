"""Refusals: nobody is refused against the contract, and nobody is left without a response."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.torturing.history import Fault, Final, History, Request, Stream, Write
from scripts.torturing.options import Options

# A fault explains a 503, or a lost response, within this time after its end, in seconds.
AFTERMATH_SECONDS = 5.0
# Readers whose connection was lost this long ago may still count.
GONE_SECONDS = 3.0
ALWAYS_WRONG = (400, 401, 403, 405, 408, 413, 415, 422, 429, 500, 501, 502, 504)


def check(history: History, _: Final, options: Options) -> None:
    for request in history.requests:
        _check_request(history, options, request)
    for stream in history.streams:
        _check_stream(history, options, stream)


def _check_request(history: History, options: Options, request: Request) -> None:
    if request.lost is not None:
        if request.lost != "left" and not any(True for _ in _faults(history, request)):
            _wrong(history, "no response", request, request.lost)
        return
    status = request.status or 0
    if request.kind == "after end":
        if status != 204:
            _wrong(history, "not 204 after the end", request, f"{status} {request.body}")
    elif status in ALWAYS_WRONG:
        _wrong(history, f"status {status}", request, request.body)
    elif status == 503:
        if not request.retry_after:
            _wrong(history, "503 without Retry-After", request, request.body)
        # A stop waits for the process that generates the answer, which may be another one.
        if not _disturbed(history, request, anywhere=request.kind == "stop"):
            _wrong(history, "503 without a fault", request, request.body)
    elif status == 404:
        if request.conversation is not None and not _may_be_gone(history, request.conversation, request.ended):
            _wrong(history, "status 404", request, request.body)
    elif status == 409 and (
        request.kind not in ("rewind", "restore", "erase") or not _may_be_busy(history, options, request)
    ):
        _wrong(history, "409 while nothing is generated", request, request.body)


def _check_stream(history: History, options: Options, stream: Stream) -> None:
    status = stream.status
    if status is None or status == 204:
        return
    if status != 200 and stream.last_id is not None and status in (409, 429, 503):
        _wrong(history, f"{status} for a reader that comes back", stream, "")
    elif status in ALWAYS_WRONG:
        _wrong(history, f"status {status}", stream, "")
    elif status == 503 and not _disturbed(history, stream):
        _wrong(history, "503 without a fault", stream, "")
    elif status == 404 and not _may_be_gone(history, stream.conversation, stream.ended):
        _wrong(history, "status 404", stream, "")
    elif status == 409 and (stream.when_busy != "reject" or not _may_be_busy(history, options, stream)):
        _wrong(history, "409 while no other answer is generated", stream, f"whenBusy={stream.when_busy}")
    elif (
        stream.end == "clean"
        and stream.last_id is not None
        and not stream.opened
        and not _disturbed(history, stream)
        and not _may_be_busy(history, options, stream)
    ):
        _wrong(history, "sent away without a cause", stream, f"after {stream.last_id}")


def _faults(history: History, event: Request | Stream) -> Iterator[Fault]:
    return history.faults_within(event.began, event.ended, event.process, slack=AFTERMATH_SECONDS)


def _disturbed(history: History, event: Request | Stream, *, anywhere: bool = False) -> bool:
    process = None if anywhere else event.process
    return history.disturbed(event.began, event.ended, process, slack=AFTERMATH_SECONDS)


def _may_be_gone(history: History, conversation_id: str, until: float) -> bool:
    """Conversation, message or trigger may be deleted, erased or superseded: somebody has sent such a request."""
    conversation = history.conversations[conversation_id]
    return _any_sent([*conversation.deletions, *conversation.erasures, *conversation.moves], until)


def _any_sent(writes: list[Write], until: float) -> bool:
    return any(write.sent <= until for write in writes)


def _may_be_busy(history: History, options: Options, event: Request | Stream) -> bool:
    """Another answer of the conversation may be active: it has readers, or has just lost them, or continues.

    After a fault its readers may be lost, and its process dead, for as long as its lease holds.
    """
    trigger = event.trigger if isinstance(event, Stream) else None
    lease = options.lease_seconds + options.grace_seconds
    faulty = history.disturbed(event.began - lease - AFTERMATH_SECONDS, event.ended)
    slack = GONE_SECONDS + (lease + AFTERMATH_SECONDS if faulty else 0.0)
    for stream in history.streams:
        if stream.conversation != event.conversation or stream is event or stream.began > event.ended:
            continue
        if trigger is not None and stream.trigger == trigger:
            continue
        if stream.status is not None and stream.status != 200:
            continue  # it began nothing
        if stream.ended + (0.0 if stream.terminals else slack) >= event.began:
            return True
        if stream.continues and not stream.terminals:
            return True
    return False


def _wrong(history: History, kind: str, event: Request | Stream, text: str) -> None:
    what = f"stream #{event.number}" if isinstance(event, Stream) else f"{event.method} ({event.kind})"
    history.violate(kind, f"{what} at p{event.process}: {text}", event.conversation, event.ended)
