"""The client of the child process that renders Markdown. A client has at most one child, started when it is needed."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Sequence

from chatserver import children
from chatserver.errors import UnavailableError

logger = logging.getLogger(__name__)

# A program, not an import: the server itself loads none of its libraries.
MODULE = "chatserver.rendering.child"
# How long one text may take. Ordinary texts take milliseconds.
TEXT_SECONDS = 2.0
# How long the child may take to start on a busy machine, and how long to wait before the next try.
START_SECONDS = 20.0
RETRY_SECONDS = 60.0
# The longest reply, in bytes of JSON.
REPLY_BYTES = 4 * 2**20

_READY = b'"ready"\n'
_NAME = "renderer"
# Signals of a process that fails by itself. One that waits for a text does not: the text is the cause.
_CRASHES = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP}


class Renderer:
    """Renders one text at a time: wait for the end of a `render` before the next.

    The HTML always belongs to the text. An exchange that is cancelled or takes too long kills the child, and with it
    the reply that was still to come; and each reply has the number of its request.
    """

    def __init__(
        self,
        command: Sequence[str] | None = None,
        *,
        text_seconds: float = TEXT_SECONDS,
        start_seconds: float = START_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """`command`: for tests, another program that speaks as `chatserver.rendering.child` does.

        Both `command` and `text_seconds` may be changed: the next start, and the next text, use the new value.
        """
        self.text_seconds = text_seconds
        self.command = command or children.command(MODULE)
        self._start_seconds = start_seconds
        self._retry_seconds = retry_seconds
        self._child: children.Child | None = None
        self._requests = 0
        self._not_before = 0.0

    @property
    def pid(self) -> int | None:
        """The process id of the child, if there is one."""
        return self._child.pid if self._child else None

    async def render(self, text: str, headings: Sequence[int] | None = None) -> str | None:
        """The HTML of a text; None: it cannot be rendered, or not in time. Such a text is not to be asked for again.

        With `headings`, the levels of the headings above the text, it is the blocks of the text as JSON, see
        `markdown.render_blocks_or_tell`.
        Raises UnavailableError if the child does not start.
        """
        # The child may have been killed long before. If that happens twice in a row, the text is the cause.
        for _ in range(2):
            child = await self._running()
            try:
                async with asyncio.timeout(self.text_seconds):
                    return await self._exchange(child, text, headings)
            except TimeoutError:
                logger.warning("a text of %d characters takes too long to render", len(text))
                return None
            except (ConnectionError, EOFError):
                status = await child.end()
                words = f": {child.last_words}" if child.last_words else ""
                logger.warning("the renderer ended, with status %d%s", status, words)
                if -status in _CRASHES:
                    return None
            except (ValueError, TypeError):
                logger.warning("the HTML of a text of %d characters is too long, or malformed", len(text))
                return None
        return None

    async def close(self) -> None:
        """End the child; return when it is gone. Not to be called while a text is being rendered."""
        if self._child is not None:
            await self._child.end()
            self._child = None

    async def _exchange(self, child: children.Child, text: str, headings: Sequence[int] | None) -> str | None:
        """Raises ConnectionError or EOFError if the child is gone, ValueError or TypeError for a wrong reply."""
        self._requests += 1
        try:
            child.stdin.write(_line([self._requests, text, headings]))
            await child.stdin.drain()
            line = await child.stdout.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            number, result = json.loads(line)
            if number != self._requests:
                raise ValueError("the reply to another request")
        except (ConnectionError, EOFError):
            self._child = None
            await child.end()
            raise
        except BaseException:
            self._child = None
            child.kill()
            await child.end()
            raise
        return None if result is None else str(result)

    async def _running(self) -> children.Child:
        if self._child is None:
            clock = asyncio.get_running_loop().time
            if clock() < self._not_before:
                raise UnavailableError
            try:
                self._child = await self._start()
            except (OSError, ValueError) as error:  # TimeoutError is one
                self._not_before = clock() + self._retry_seconds
                reason = str(error) or f"not ready after {self._start_seconds:.0f} s"
                logger.error("the renderer does not start, answers are shown as plain text: %s", reason)
                raise UnavailableError from error
        return self._child

    async def _start(self) -> children.Child:
        """Raises OSError if the child does not start, and ValueError if its first line is not the expected one."""
        child = await children.start(self.command, _NAME, line_bytes=REPLY_BYTES, quiet=True)
        try:
            async with asyncio.timeout(self._start_seconds):
                word = await child.stdout.readline()
            if word == _READY:
                return child
            if word:
                raise ValueError("its first line is not the expected one")
        except BaseException:
            child.kill()
            await child.end()
            raise
        status = await child.end()
        raise OSError(f"it ended with status {status}" + (f": {child.last_words}" if child.last_words else ""))


def _line(request: object) -> bytes:
    return json.dumps(request, ensure_ascii=False).encode() + b"\n"
