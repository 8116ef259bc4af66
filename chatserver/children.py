"""Child processes of the server: they speak over standard input and output, and do not outlive it.

`start` is for the parent; `die_with` is the first thing that the child does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Sequence

from chatserver import logs

logger = logging.getLogger(__name__)

LINE_BYTES = 2**16
STOP_SECONDS = 5.0


class Child:
    """A running child. Its standard error goes to the log under `name`, line by line.

    `ended` is done when the child is gone; its result is the exit status (negative: the signal that killed it).
    """

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self.stdin = process.stdin
        self.stdout = process.stdout
        self._process = process
        self._name = name
        self.ended = asyncio.create_task(self._watch(), context=logs.without_request())

    async def end(self) -> int:
        """Tell the child to end, and kill it after some seconds; its exit status. May be called again.

        If this is cancelled, the child is killed.
        """
        self.stdin.close()
        with contextlib.suppress(TimeoutError):
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
            finally:
                if self._process.returncode is None:
                    self.kill()
        return await asyncio.shield(self.ended)

    def kill(self) -> None:
        """Kill the child. May be called again."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _watch(self) -> int:
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # the line is longer than the buffer: it is dropped
                continue
            if not line:
                break
            logger.warning("%s: %s", self._name, line.decode("utf-8", "replace").rstrip())
        return await self._process.wait()


def command(module: str) -> list[str]:
    """The command that runs a module of ours as a child. Its one argument is the process id for `die_with`."""
    return [
        sys.executable,
        "-P",
        "-m",
        module,
        str(os.getpid()),
    ]  # -P: not a module of the same name in the current folder


async def start(arguments: Sequence[str], name: str, *, line_bytes: int = LINE_BYTES) -> Child:
    """Start a program. `name` is its name in the log, `line_bytes` the longest line of its output.

    Raises OSError if there is no such program, or no room for another process.
    """
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=line_bytes,
        start_new_session=True,  # Ctrl-C is for the server, which ends its children at its own end
    )
    return Child(process, name)


# --- the child --------------------------------------------------------------------------------------------


def die_with(parent: int) -> None:
    """Have this process killed when its parent dies. Other systems than Linux rely on the end of standard input."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before that
        os._exit(1)
