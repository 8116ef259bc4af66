"""Child processes of the server: they speak over standard input and output, and do not outlive it.

`start` is for the parent; `confine` is the first thing that the child does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence

from chatserver import logs

logger = logging.getLogger(__name__)

LINE_BYTES = 2**16
STOP_SECONDS = 5.0
MAX_LAST_WORDS = 300
# Begins the lines of a quiet child that are for the log.
NOTE = "note: "

# All of our environment that a child gets: where Python and its libraries are. The rest may hold keys and passwords.
_ENVIRONMENT = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38


class Child:
    """A running child. Its standard error goes to the log under `name`, line by line; of a `quiet` one only its notes.

    `ended` is done when the child is gone; its result is the exit status (negative: the signal that killed it).
    `last_words` is the last line of a quiet child's standard error that is no note.
    """

    def __init__(self, process: asyncio.subprocess.Process, name: str, *, quiet: bool) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self.stdin = process.stdin
        self.stdout = process.stdout
        self._process = process
        self._name = name
        self._quiet = quiet
        self.last_words = ""
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
            words = line.decode("utf-8", "replace").strip()
            if not self._quiet or words.startswith(NOTE):
                logger.warning("%s: %s", self._name, words.removeprefix(NOTE))
            elif words:
                self.last_words = words[:MAX_LAST_WORDS]
        return await self._process.wait()


def command(module: str) -> list[str]:
    """The command that runs a module of ours as a child. Its one argument is the process id for `confine`."""
    return [
        sys.executable,
        "-P",
        "-m",
        module,
        str(os.getpid()),
    ]  # -P: not a module of the same name in the current folder


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: no keys, no passwords, nothing that it can do without."""
    return {name: ours[name] for name in _ENVIRONMENT if name in ours}


async def start(arguments: Sequence[str], name: str, *, line_bytes: int = LINE_BYTES, quiet: bool = False) -> Child:
    """Start a program. `name` is its name in the log, `line_bytes` the longest line of its output.

    A `quiet` program's standard error is not logged, except its notes: a crash is several lines there, and the caller
    tells of it in one.

    Raises OSError if there is no such program, or no room for another process.
    """
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(os.environ),
        limit=line_bytes,
        start_new_session=True,  # Ctrl-C is for the server, which ends its children at its own end
    )
    return Child(process, name, quiet=quiet)


# --- the child --------------------------------------------------------------------------------------------


def confine(parent: int) -> None:
    """Take from this process what it does not need, and have it killed when its parent dies.

    It leaves no core dump, which would hold what it reads, and other programs that it starts get no more rights than it
    has. Other systems than Linux rely on the end of standard input for the rest.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # Where a program collects core dumps (`|` in core_pattern), the limit above does not count, but this does.
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # the parent died before that
        os._exit(1)
