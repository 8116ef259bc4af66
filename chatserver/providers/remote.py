"""Answers from a model over HTTP, in any wire format: ask, and ask again if that may help."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from chatserver.errors import ErrorCode, ProviderError
from chatserver.loop_share import LoopShare
from chatserver.providers import failures
from chatserver.providers.attempt import Attempt, SilenceError
from chatserver.providers.base import Finish, Prompt, Sink
from chatserver.providers.content_encoding import UndecodableError
from chatserver.providers.failures import AttemptError
from chatserver.providers.pictures import TooLongError
from chatserver.providers.response_body import CutError
from chatserver.providers.transport import ConnectError, ConnectionLostError, Target
from chatserver.providers.wire import UnreadableError, WireFormat
from chatserver.settings_tables import ProviderSettings

logger = logging.getLogger(__name__)


class RemoteProvider:
    """A model behind HTTP. `name` is the provider's, for the log.

    Before the first delta, a request with a passing failure is sent again, at most `settings.retries` times; after the
    first delta never. A request that is refused because of a field that nobody wished for is sent again without it,
    and if that helps, so are all further ones. The model's connection is closed when an answer ends, in every case.
    """

    needs_user_turn = True

    def __init__(self, name: str, settings: ProviderSettings, wire: WireFormat, share: LoopShare | None = None) -> None:
        self.model = settings.model
        self.max_prompt_chars = settings.max_prompt_chars
        self._name = name
        self._settings = settings
        self._wire = wire
        self._share = share or LoopShare()
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

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        tries = 0
        without = set(self._refused_fields)
        body = self._wire.body(prompt, without)

        def on_begin() -> None:
            """There is no further try, and a long prompt shall not stay in memory for all of a long answer."""
            nonlocal prompt, body
            self._refused_fields.update(without)
            del prompt, body

        while True:
            attempt = Attempt(self._settings, self._wire.reader(), sink, self._share, on_begin)
            try:
                return await attempt.run(self._target, self._headers, _encoded(body))
            except Exception as error:
                if isinstance(error, ProviderError) and not isinstance(error, AttemptError):
                    raise  # the sink's
                # The frames in its traceback would hold it: a circle, left for the garbage collector.
                failure = self._failure(error, attempt.begun).with_traceback(None)
            if not attempt.begun and (field := self._refused_field(failure, body)) is not None:
                without.add(field)
                body = self._wire.body(prompt, without)
                logger.warning("provider %s: it refuses %s; asked again without", self._name, field)
                continue
            wait = failures.wait_seconds(failure, tries) if tries < self._settings.retries else None
            if wait is None:
                logger.warning("provider %s: %s: %s", self._name, failure.code, failure.reason)
                raise ProviderError(failure.code, failure.message, in_pause=attempt.in_pause)
            logger.warning("provider %s: %s: %s; asked again in %.1f s", self._name, failure.code, failure.reason, wait)
            await asyncio.sleep(wait)
            tries += 1

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
