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

    def __init__(self, now: float, *, first_token_seconds: float, between_tokens_seconds: float) -> None:
        self._between_tokens_seconds = between_tokens_seconds
        self._deadline = now + first_token_seconds
        self._running = True
        self._ended = self._counted = False

    def token(self) -> None:
        """The consumer was given a token. The time for the next one begins when the consumer asks for it."""
        self._running = False

    def next(self, now: float, reader: ResponseReader) -> float:
        """The deadline, at the moment when the consumer waits for more. What is no token does not put it off."""
        ended = reader.stop_reason is not None
        counted = ended and reader.usage is not None
        if not self._running or (ended, counted) != (self._ended, self._counted):
            self._running = True
            self._ended, self._counted = ended, counted
            self._deadline = now + self._seconds()
        return self._deadline

    def _seconds(self) -> float:
        if self._counted:
            return LAST_WORD_SECONDS
        if self._ended:
            return USAGE_SECONDS
        return self._between_tokens_seconds
