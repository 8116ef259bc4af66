"""Answers from a model over HTTP, in any wire format: ask, retry, read, close."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from chatserver.errors import ErrorCode, ProviderError
from chatserver.providers import failures
from chatserver.providers.base import Delta, Finish, Prompt
from chatserver.providers.event_decoder import EventStreamDecoder, TooLongError, WholeBodyDecoder
from chatserver.providers.failures import AttemptError
from chatserver.providers.transport import ConnectError, ConnectionLostError, Exchange, SilenceError, Target
from chatserver.providers.wire import ResponseReader, WireFormat
from chatserver.settings import ProviderSettings

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 1024 * 1024
# A whole answer in one JSON body, from a server that does not stream.
MAX_WHOLE_BYTES = 8 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
_ERROR_BODY_SECONDS = 2.0


class RemoteProvider:
    """A model behind HTTP. `name` is the provider's, for the log.

    Before the first delta, a request with a passing failure is sent again, at most `settings.retries` times; after the
    first delta never. The model's connection is closed when an answer ends, in every case.
    """

    needs_user_turn = True

    def __init__(self, name: str, settings: ProviderSettings, wire: WireFormat) -> None:
        self.max_prompt_chars = settings.max_prompt_chars
        self._name = name
        self._settings = settings
        self._wire = wire
        self._target = Target(wire.url)
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream, application/json",
            "User-Agent": "chatserver",
            **wire.headers,
        }

    def close(self) -> None:
        """Nothing is kept between answers: each has a connection of its own."""

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        request = _encoded(self._wire.body(prompt))
        for attempt in itertools.count():
            try:
                async with aclosing(self._attempt(request)) as deltas:
                    async for delta in deltas:
                        yield delta
                return
            except AttemptError as error:
                failure = error
            wait = failures.wait_seconds(failure, attempt) if attempt < self._settings.retries else None
            if wait is None:
                logger.warning("provider %s: %s: %s", self._name, failure.code, failure.reason)
                raise ProviderError(failure.code, failure.message)
            logger.warning("provider %s: %s: %s; asked again in %.1f s", self._name, failure.code, failure.reason, wait)
            await asyncio.sleep(wait)

    async def _attempt(self, request: bytes) -> AsyncGenerator[Delta]:
        """Ask once. Raises AttemptError."""
        loop = asyncio.get_running_loop()
        reader = self._wire.reader()
        exchange = Exchange()
        begun = waiting = False
        try:
            await exchange.connect(self._target, self._settings.connect_seconds)
            deadline = loop.time() + self._settings.first_token_seconds
            waiting = True
            events = await self._post(exchange, request, deadline)
            while not reader.over:
                if not waiting:
                    # The time-out of a token begins when the consumer asks for it.
                    deadline = loop.time() + self._settings.between_tokens_seconds
                    waiting = True
                chunk = await exchange.read(deadline)
                cut = not chunk and isinstance(events, EventStreamDecoder)
                for data in events.feed(chunk) if chunk else events.end():
                    for delta in _read(reader, data, cut=cut):
                        begun = True
                        waiting = False
                        yield delta
                if not chunk:
                    break
            if reader.stop_reason is None:
                raise _ended(exchange, begun)
        except Exception as error:
            if reader.stop_reason is None:
                raise self._failure(error, begun) from None
        finally:
            await exchange.close()
        yield Finish(reader.stop_reason, reader.usage)

    async def _post(self, exchange: Exchange, request: bytes, deadline: float) -> EventStreamDecoder | WholeBodyDecoder:
        """Send the request; the decoder for the body of a successful response."""
        await exchange.post(self._headers, request, deadline)
        if not 200 <= exchange.status < 300:
            raise failures.refused(exchange.status, exchange.headers, await _beginning(exchange))
        if exchange.media_type == "application/json":
            return WholeBodyDecoder(MAX_WHOLE_BYTES)
        return EventStreamDecoder(MAX_LINE_BYTES)

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
            case TooLongError():
                failure = AttemptError("bad_response", "a line, an event or a body that is too long")
            case _:
                logger.error("provider %s: a fault of ours", self._name, exc_info=error)
                failure = AttemptError("internal", "a fault of ours")
        failure.again = failure.again and not begun
        return failure


def _encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _read(reader: ResponseReader, data: str, cut: bool) -> tuple[Delta, ...]:
    """The deltas of one event. `cut`: the stream ended with it, perhaps in its middle."""
    try:
        return reader.read(data)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        if cut:
            raise AttemptError("interrupted", "the answer ended within an event") from None
        raise AttemptError("bad_response", "an event that cannot be read") from None


def _ended(exchange: Exchange, begun: bool) -> AttemptError:
    """The failure that it means if a body ends before the model gave a stop reason."""
    if begun or exchange.media_type == "text/event-stream":
        return AttemptError("interrupted", "the answer ended without a stop reason")
    return AttemptError("bad_response", "the body holds no answer")


async def _beginning(exchange: Exchange) -> bytes:
    """The beginning of the body of an error response."""
    body = bytearray()
    deadline = asyncio.get_running_loop().time() + _ERROR_BODY_SECONDS
    try:
        while len(body) < MAX_ERROR_BYTES and (chunk := await exchange.read(deadline)):
            body += chunk
    except (ConnectionLostError, SilenceError):
        pass
    return bytes(body)
