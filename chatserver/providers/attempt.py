"""One try to get an answer from a model: ask, read, push into the sink, close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial

from chatserver.loop_share import LoopShare
from chatserver.providers import failures
from chatserver.providers.alarm import Alarm
from chatserver.providers.base import Delta, Finish, Sink
from chatserver.providers.content_encoding import PlainBytes, UndecodableError
from chatserver.providers.deadlines import Deadlines
from chatserver.providers.failures import AttemptError
from chatserver.providers.response_body import CutError, ResponseBody
from chatserver.providers.transport import ConnectionLostError, Exchange, Target
from chatserver.providers.wire import ResponseReader
from chatserver.settings_tables import ProviderSettings

MAX_ERROR_BYTES = 64 * 1024
_ERROR_BODY_SECONDS = 2.0
# Text that may be the beginning of a picture is held back for so long, in case that nothing follows.
HOLD_SECONDS = 0.06

# So few bytes are a token or two, which do not wait for answers that have more to read.
SHORT_BYTES = 1024

# What an attempt has to do before it takes more from the model: await these one after the other.
Steps = Iterator[Awaitable[bool | None]]


class SilenceError(Exception):
    """The model sent nothing within the time allowed"""


# What happens to the connection itself. If the model has given its stop reason, it does no harm.
_CONNECTION_FAULTS = (ConnectionLostError, SilenceError, CutError)


class Attempt:
    """One request for an answer; `run` carries it out.

    The model's bytes become deltas, and these are pushed, in the call by which the loop brings the bytes. Only if that
    has to wait, because nobody wants the answer or because there is much to read, reading is paused, and the task of
    `run` goes on with it. So one of these states follows another:

    - head: from the request on. The alarm runs. `head_received` leaves it, for the body, or for `_error_body`.
    - body: the loop's calls push, and the alarm runs. `body_received` leaves it when it has to wait.
    - held: `_steps` are left to do, and only the task of `run` pushes; bytes that come are `_unread`. Reading is
      paused, and the alarm is off. `_read_body` leaves it, for the body.
    - over: there is a `_failure`, or the model says that this is all. Bytes that come are ignored.
    - ended: `_ended`, because no more comes, or not in time. The alarm is off. `ended` brings the attempt here from any
      other state. The task of `run` pushes what is still held, and then what the end of the body completes.

    None of the loop's calls raises: they note what went wrong, and by `_called` have the task of `run` raise it.

    `begun`: a part of the answer is out; `on_begin` is called before. `in_pause`: the model had hung up when the sink
    took the answer again.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        reader: ResponseReader,
        sink: Sink,
        share: LoopShare,
        on_begin: Callable[[], None],
    ) -> None:
        self.begun = False
        self._on_begin = on_begin
        self.in_pause = False
        self._settings = settings
        self._reader = reader
        self._sink = sink
        self._share = share
        self._body = ResponseBody(reader)
        self._error_body: _ErrorBody | None = None
        self._exchange = Exchange(self)
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._ring)
        self._deadlines = Deadlines(
            first_token_seconds=settings.first_token_seconds, between_tokens_seconds=settings.between_tokens_seconds
        )
        self._deadline = 0.0
        self._unread: list[bytes] = []
        self._steps: Steps | None = None  # while there are any, reading is paused
        self._ended = False
        self._failure: Exception | None = None
        self._called: asyncio.Future[None] = self._loop.create_future()  # done when `run` has to go on

    async def run(self, target: Target, headers: Mapping[str, str], request: bytes) -> Finish:
        """Ask, and push the answer into the sink; how it ended. By then the connection is closed.

        Raises what went wrong: of the connection, of the response, or of the sink.
        """
        reader = self._reader
        try:
            await self._exchange.connect(target, self._settings.connect_seconds)
            self._exchange.post(target, headers, request)
            del request  # it may be long, and so may the answer
            self._set_alarm()
            await self._read_body()
            if reader.stop_reason is None:
                raise self._incomplete()
        except _CONNECTION_FAULTS:
            if reader.stop_reason is None:
                raise
        finally:
            self._alarm.close()
            exchange = self._exchange
            # These hold this attempt, the failure by its traceback: circles, left for the garbage collector.
            del self._alarm, self._exchange, self._failure, self._steps
            await exchange.close()
        if (rest := self._body.rest()) and (held := self._push(rest)) is not None:
            await held
        assert reader.stop_reason is not None
        return Finish(reader.stop_reason, reader.usage)

    async def _read_body(self) -> None:
        """Return when all of the answer is pushed, or the body is over."""
        while True:
            await self._called
            self._called = self._loop.create_future()
            if self._steps is not None:
                await self._take(self._steps)
                self._steps = None
            if self._failure is not None:
                raise self._failure
            if self._reader.over:
                return
            if self._ended:
                if self._error_body is not None:
                    raise self._error_body.failure(self._exchange)
                await self._take(self._read_end())
                return
            self._exchange.resume_reading()
            self._set_alarm()

    async def _take(self, steps: Steps) -> None:
        for step in steps:
            if await step:  # nobody wanted the answer for a while
                self.in_pause = self._exchange.hung_up()

    # --- called by the loop: none of this may raise -------------------------------------------------------

    def head_received(self) -> None:
        if 200 <= self._exchange.status < 300:
            self._body.encoding = self._exchange.encoding
        else:
            self._error_body = _ErrorBody(self._exchange.encoding)
            self._deadline = self._loop.time() + _ERROR_BODY_SECONDS
            self._alarm.set(self._deadline)

    def body_received(self, data: bytes) -> None:
        if self._error_body is not None:
            if self._error_body.feed(data):
                self.ended(None)
            return
        self._unread.append(data)
        if self._steps is not None or self._failure is not None or self._reader.over:
            return
        steps = self._read()
        try:
            for held in steps:
                self._steps = _after(held, steps)
                self._exchange.pause_reading()
                self._alarm.stop()
                self._call()
                return
        except Exception as error:
            self._failure = error
        if self._failure is not None or self._reader.over:
            self._call()
        else:
            self._set_alarm()

    def ended(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self._alarm.stop()
            if self._error_body is None:
                self._failure = self._failure or error
            self._call()

    def _ring(self) -> None:
        """Time is up: for the model, or for text that is held back."""
        wanted = self._sink.wanted
        if self._loop.time() < self._deadline:
            if wanted:
                self._release()
        elif wanted or self._reader.stop_reason is not None or self._error_body is not None:
            self.ended(SilenceError())
        else:
            self._deadlines.restart()
        if not self._ended:
            self._set_alarm()

    def _release(self) -> None:
        """Push the text that was held back. It is a single delta, which a sink that wants it takes at once."""
        try:
            held = self._push(self._body.release())
            assert held is None, "the sink wants the answer, and holds it back"
        except Exception as error:
            self.ended(error)

    def _call(self) -> None:
        """Have the task of `run` go on."""
        if not self._called.done():
            self._called.set_result(None)

    def _set_alarm(self) -> None:
        """The model's time runs from now on."""
        now = self._loop.time()
        self._deadline = when = self._deadlines.next(now, self._reader)
        if self._body.holds_briefly:
            when = min(when, now + HOLD_SECONDS)
        self._alarm.set(when)

    # --- steps --------------------------------------------------------------------------------------------

    def _read(self) -> Steps:
        """Push the deltas of what is unread. Raises what went wrong."""
        has_turn = len(self._unread[0]) <= SHORT_BYTES or self._share.has_turn()
        while self._unread:
            for piece in self._body.pieces(self._unread.pop(0)):
                if not has_turn:
                    yield self._share.turn()
                has_turn = False
                yield from self._push_what(partial(self._body.feed, piece))
                if self._reader.over:
                    return

    def _read_end(self) -> Steps:
        """Push the deltas that the end of the body completes."""
        return self._push_what(self._body.end)

    def _push_what(self, read: Callable[[list[Delta]], None]) -> Steps:
        """Push the deltas that `read` adds to its list, also those before it raises; then raise that."""
        deltas: list[Delta] = []
        failure = None
        try:
            read(deltas)
        except Exception as error:
            failure = error
        if deltas and (held := self._push(deltas)) is not None:
            yield held
        if failure is not None:
            raise failure

    def _push(self, deltas: list[Delta]) -> Awaitable[bool] | None:
        if not self.begun:
            self.begun = True
            self._on_begin()
        self._deadlines.token()
        return self._sink.push(deltas)

    def _incomplete(self) -> AttemptError:
        """The failure that it means if a body ends before the model gave a stop reason."""
        if self.begun or self._body.is_stream or self._exchange.media_type == "text/event-stream":
            return AttemptError("interrupted", "the answer ended without a stop reason")
        return AttemptError("bad_response", "the body holds no answer")


def _after(first: Awaitable[bool | None], steps: Steps) -> Steps:
    yield first
    yield from steps


class _ErrorBody:
    """The beginning of the body of an error response."""

    def __init__(self, encoding: str) -> None:
        self._plain = PlainBytes(encoding)
        self._body = bytearray()
        self._received = 0

    def feed(self, data: bytes) -> bool:
        """True: no more is needed."""
        self._received += len(data)
        try:
            for piece in self._plain.feed(data):
                self._body += piece
                if len(self._body) >= MAX_ERROR_BYTES:
                    return True
        except UndecodableError:
            return True
        return self._received >= MAX_ERROR_BYTES

    def failure(self, exchange: Exchange) -> AttemptError:
        try:
            self._body += self._plain.end()
        except EOFError:
            pass
        return failures.refused(exchange.status, exchange.headers, bytes(self._body))
