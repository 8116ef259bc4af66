"""How long a model may be silent, at each point of an answer; no I/O."""

from __future__ import annotations

from chatserver.providers.wire import ResponseReader

# After a stop reason the token counts may still come.
USAGE_SECONDS = 3.0
# With them, nothing is missing any more. What was sent together with them may still be on its way: the end of the
# stream, or the report of an error.
LAST_WORD_SECONDS = 0.25


class Deadlines:
    """When the next bytes of a model have to come. Times are in seconds, of one clock."""

    def __init__(self, *, first_token_seconds: float, between_tokens_seconds: float) -> None:
        self._seconds = first_token_seconds
        self._between_tokens_seconds = between_tokens_seconds
        self._deadline = 0.0
        self._running = False
        self._ended = self._counted = False

    def token(self) -> None:
        """A token has come. The time for the next one begins when it is waited for."""
        self._seconds = self._between_tokens_seconds
        self._running = False

    def restart(self) -> None:
        """Nobody wanted the answer: the time begins anew."""
        self._running = False

    def next(self, now: float, reader: ResponseReader) -> float:
        """The deadline, at the moment when more is waited for. What is no token does not put it off."""
        ended = reader.stop_reason is not None
        counted = ended and reader.usage is not None
        if not self._running or (ended, counted) != (self._ended, self._counted):
            self._running = True
            self._ended, self._counted = ended, counted
            self._deadline = now + (LAST_WORD_SECONDS if counted else USAGE_SECONDS if ended else self._seconds)
        return self._deadline
