"""Answers from a model over HTTP, in any wire format: ask, retry, read, close."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from chatserver.errors import ErrorCode, ProviderError
from chatserver.providers import failures
from chatserver.providers.base import Delta, Finish, Prompt
from chatserver.providers.content_encoding import PlainBytes, UndecodableError
from chatserver.providers.deadlines import Deadlines
from chatserver.providers.failures import AttemptError
from chatserver.providers.pictures import TooLongError
from chatserver.providers.response_body import CutError, ResponseBody
from chatserver.providers.transport import ConnectError, ConnectionLostError, Exchange, SilenceError, Target
from chatserver.providers.wire import UnreadableError, WireFormat
from chatserver.settings import ProviderSettings

logger = logging.getLogger(__name__)

MAX_ERROR_BYTES = 64 * 1024
_ERROR_BODY_SECONDS = 2.0
# Text that may be the beginning of a picture is held back for so long, in case that nothing follows.
HOLD_SECONDS = 0.06
# What happens to the connection itself. If the model has given its stop reason, it does no harm.
_CONNECTION_FAULTS = (ConnectionLostError, SilenceError, CutError)


class RemoteProvider:
    """A model behind HTTP. `name` is the provider's, for the log.

    Before the first delta, a request with a passing failure is sent again, at most `settings.retries` times; after the
    first delta never. A request that is refused because of a field that nobody wished for is sent again without it,
    and if that helps, so are all further ones. The model's connection is closed when an answer ends, in every case.
    """

    needs_user_turn = True

    def __init__(self, name: str, settings: ProviderSettings, wire: WireFormat) -> None:
        self.max_prompt_chars = settings.max_prompt_chars
        self._name = name
        self._settings = settings
        self._wire = wire
        self._target = Target(wire.url)
        self._refused_fields: set[str] = set()
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream, application/json",
            "User-Agent": "chatserver",
            **wire.headers,
        }

    def close(self) -> None:
        """Nothing is kept between answers: each has a connection of its own."""

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta, bool | None]:
        attempt = 0
        without = set(self._refused_fields)
        while True:
            body = self._wire.body(prompt, without)
            begun = False
            try:
                async with aclosing(self._attempt(_encoded(body))) as deltas:
                    paused: bool | None = None
                    while True:
                        delta = await deltas.asend(paused)
                        if not begun:
                            begun = True
                            self._refused_fields |= without
                        paused = yield delta
            except StopAsyncIteration:
                return
            except AttemptError as error:
                failure = error
            if not begun and (field := self._refused_field(failure, body)) is not None:
                without.add(field)
                logger.warning("provider %s: it refuses %s; asked again without", self._name, field)
                continue
            wait = failures.wait_seconds(failure, attempt) if attempt < self._settings.retries else None
            if wait is None:
                logger.warning("provider %s: %s: %s", self._name, failure.code, failure.reason)
                raise ProviderError(failure.code, failure.message, in_pause=failure.in_pause)
            logger.warning("provider %s: %s: %s; asked again in %.1f s", self._name, failure.code, failure.reason, wait)
            await asyncio.sleep(wait)
            attempt += 1

    async def _attempt(self, request: bytes) -> AsyncGenerator[Delta, bool | None]:
        """Ask once. Raises AttemptError."""
        loop = asyncio.get_running_loop()
        reader = self._wire.reader()
        body = ResponseBody(reader)
        exchange = Exchange()
        begun = in_pause = False
        try:
            await exchange.connect(self._target, self._settings.connect_seconds)
            deadlines = self._deadlines(loop.time())
            await exchange.post(self._headers, request, deadlines.next(loop.time(), reader))
            await _check_status(exchange)
            body.encoding = exchange.encoding
            while not reader.over:
                deltas = await _next(exchange, body, deadlines.next(loop.time(), reader))
                for delta in deltas:
                    if delta is None:
                        await asyncio.sleep(0)
                        continue
                    begun = True
                    deadlines.token()
                    if (yield delta):
                        in_pause = exchange.hung_up()
                if body.ended:
                    break
            if reader.stop_reason is None:
                raise _incomplete(exchange, body, begun)
        except Exception as error:
            if not (isinstance(error, _CONNECTION_FAULTS) and reader.stop_reason is not None):
                failure = self._failure(error, begun)
                failure.in_pause = in_pause
                raise failure from None
        finally:
            await exchange.close()
        for delta in body.rest():
            yield delta
        assert reader.stop_reason is not None
        yield Finish(reader.stop_reason, reader.usage)

    def _deadlines(self, now: float) -> Deadlines:
        settings = self._settings
        return Deadlines(
            now,
            first_token_seconds=settings.first_token_seconds,
            between_tokens_seconds=settings.between_tokens_seconds,
        )

    def _refused_field(self, failure: AttemptError, body: dict[str, Any]) -> str | None:
        """The field of a refused request that the refusal names, if nobody wished for it."""
        if failure.code != "refused":
            return None
        fields = self._wire.optional_fields.items()
        return next((field for field, names in fields if field in body and names.search(failure.text)), None)

    def _failure(self, error: Exception, begun: bool) -> AttemptError:
        """An exception as the failure of a try. `begun`: a part of the answer is out, so there is no further try."""
        match error:
            case AttemptError():
                failure = error
            case ConnectError():
                code: ErrorCode = "timeout" if error.timed_out else "unavailable"
                failure = AttemptError(code, error.reason, again=error.passing)
            case SilenceError():
                failure = AttemptError("timeout", "no token in time")
            case ConnectionLostError() if begun:
                failure = AttemptError("interrupted", "the connection was lost")
            case ConnectionLostError():
                failure = AttemptError("unavailable", "the connection was lost before the answer began", again=True)
            case CutError():
                failure = AttemptError("interrupted", "the answer ended within an event")
            case UnreadableError():
                failure = AttemptError("bad_response", "an event that cannot be read")
            case TooLongError():
                failure = AttemptError("bad_response", "a line, an event or a body that is too long")
            case UndecodableError():
                failure = AttemptError("bad_response", f"a compressed body that cannot be read: {error}")
            case _:
                logger.error("provider %s: a fault of ours", self._name, exc_info=error)
                failure = AttemptError("internal", "a fault of ours")
        failure.again = failure.again and not begun
        return failure


def _encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


async def _next(exchange: Exchange, body: ResponseBody, deadline: float) -> Iterator[Delta | None]:
    """The deltas in the next bytes, or those that were held back and should be held no longer."""
    if not body.holds_briefly:
        chunk = await exchange.read(deadline)
    else:
        now = asyncio.get_running_loop().time
        try:
            chunk = await exchange.read(min(deadline, now() + HOLD_SECONDS))
        except SilenceError:
            if now() >= deadline:
                raise
            return body.release()
    return body.feed(chunk) if chunk else body.end()


async def _check_status(exchange: Exchange) -> None:
    if not 200 <= exchange.status < 300:
        raise failures.refused(exchange.status, exchange.headers, await _beginning(exchange))


def _incomplete(exchange: Exchange, body: ResponseBody, begun: bool) -> AttemptError:
    """The failure that it means if a body ends before the model gave a stop reason."""
    if begun or body.is_stream or exchange.media_type == "text/event-stream":
        return AttemptError("interrupted", "the answer ended without a stop reason")
    return AttemptError("bad_response", "the body holds no answer")


async def _beginning(exchange: Exchange) -> bytes:
    """The beginning of the body of an error response."""
    body = bytearray()
    plain = PlainBytes(exchange.encoding)
    deadline = asyncio.get_running_loop().time() + _ERROR_BODY_SECONDS
    received = 0
    try:
        while received < MAX_ERROR_BYTES and (chunk := await exchange.read(deadline)):
            received += len(chunk)
            for piece in plain.feed(chunk):
                body += piece
                if len(body) >= MAX_ERROR_BYTES:
                    return bytes(body)
        body += plain.end()
    except (ConnectionLostError, SilenceError, UndecodableError, EOFError):
        pass
    return bytes(body)
