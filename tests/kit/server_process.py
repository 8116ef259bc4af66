"""A chatserver in a process of its own, as an operator runs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.kit.http_client import Client
from tests.kit.process_table import ROOT
from tests.kit.waiting import PATIENCE_SECONDS

READY = "chatserver ready at http://127.0.0.1:"


class ServerProcess(Client):
    """`await start(…)` makes one; it is a client of itself."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        super().__init__(port)
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal. Raises ProcessLookupError once the process has ended.

        The process object's own method may take the exit status of a process that is just ending, and lose it.
        """
        os.kill(self.pid, number)

    async def ended(self) -> tuple[int, str]:
        """Exit status, and what was written to standard output after the ready line."""
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            output = await self._stdout.read()
            return await self.process.wait(), output.decode()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    @property
    def _stdout(self) -> asyncio.StreamReader:
        assert self.process.stdout is not None
        return self.process.stdout


async def launch(
    *arguments: str, log: Path | int | None = None, code: Path = ROOT, **environment: str
) -> asyncio.subprocess.Process:
    """`chatserver serve` with these arguments, and these CHATSERVER_ settings in its environment.

    `log`: a file or a descriptor for standard error; None: a pipe, which the test reads. `code`: the checkout whose
    server it is.
    """
    with contextlib.ExitStack() as stack:
        stderr = subprocess.PIPE if log is None else log
        if isinstance(stderr, Path):
            stderr = stack.enter_context(stderr.open("wb")).fileno()
        return await _launch(arguments, stderr, code, environment)


async def _launch(
    arguments: Sequence[str], stderr: int, code: Path, environment: Mapping[str, str]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "chatserver",
        "serve",
        "--port",
        "0",
        *arguments,
        cwd=code,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
    )


async def ready(process: asyncio.subprocess.Process) -> ServerProcess:
    """Wait for the ready line of a launched server."""
    assert process.stdout is not None
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        line = (await process.stdout.readline()).decode()
    assert line.startswith(READY), line
    return ServerProcess(process, int(line.removeprefix(READY)))


@asynccontextmanager
async def started(
    *arguments: str, log: Path | int | None = None, code: Path = ROOT, **environment: str
) -> AsyncIterator[ServerProcess]:
    """A server that accepts requests; at the end it is killed if it still runs. `log`, `code`: as for `launch`."""
    process = await launch(*arguments, log=log, code=code, **environment)
    server = None
    try:
        server = await ready(process)
        yield server
    finally:
        if server is not None:
            await server.close()
        if process.returncode is None:
            process.kill()
        await process.communicate()  # to the end of its pipes, which closes them


def accepts(port: int) -> bool:
    """True if something listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
