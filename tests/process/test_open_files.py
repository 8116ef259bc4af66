"""A server that runs out of open files: it stops accepting, says so once, and goes on serving those that it has."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.kit.event_stream import EventStream
from tests.kit.http_connection import Connection
from tests.kit.model_server import ModelServer
from tests.kit.process_table import ROOT
from tests.kit.server_process import ServerProcess, ready
from tests.kit.waiting import eventually

FILES = 128
# The server on the loop that it chooses by itself, and on asyncio's.
MAIN = "import sys; from chatserver.cli import main; sys.exit(main())"
LOOPS = {"installed": MAIN, "asyncio": f"import sys; sys.modules['uvloop'] = None; {MAIN}"}


@asynccontextmanager
async def started(loop: str, url: str, log: Path, **environment: str) -> AsyncIterator[ServerProcess]:
    """A server that may have few files open."""
    command = [sys.executable, "-c", LOOPS[loop], "serve", "--port", "0", "--database-url", url]
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            f'ulimit -n {FILES}; exec "$@"',
            "sh",
            *command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        server = await ready(process)
        yield server
        await server.close()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def lines(log: Path, part: str) -> list[str]:
    return [json.loads(line)["message"] for line in log.read_text().splitlines() if part in line]


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def asked(connection: Connection, path: str) -> int:
    await connection.send("GET", path)
    status, headers = await connection.head()
    await connection.read(int(headers["content-length"]))
    return status


async def spins(server: ServerProcess) -> bool:
    """Whether the server works although nobody asks it anything."""
    before = processor_seconds(server.pid)
    await asyncio.sleep(1)
    return processor_seconds(server.pid) - before > 0.5


@pytest.mark.parametrize("loop", LOOPS)
async def test_server_out_of_open_files_keeps_a_reserve_and_says_so_once(
    database_url: str, tmp_path: Path, loop: str
) -> None:
    log = tmp_path / "log"
    async with ModelServer() as model, started(loop, database_url, log, **model.environment) as server:
        conversation = await server.conversation()
        await server.say(conversation, "x")
        kept = await server.connect()
        assert await asked(kept, "/readyz") == 200
        for _ in range(2 * FILES):
            await server.connect()
        await eventually(lambda: len(lines(log, "new ones wait")) == 1)
        assert not await spins(server)
        # The reserve: the database and a model can be reached.
        for _ in range(20):
            assert await asked(kept, f"/api/conversations/{conversation}/messages") == 200
        assert await asked(kept, "/readyz") == 200
        await kept.send("GET", f"/api/conversations/{conversation}/stream")
        call = await model.call()
        await call.send("four")
        await call.finish()
        status, headers = await kept.head()
        assert status == 200
        assert (await EventStream(kept, headers).rest())[-1]["type"] == "done"
        await server.close()
        await eventually(lambda: len(lines(log, "accepted again")) == 1)
        assert [message["content"] for message in await server.messages(conversation)] == ["x", "four"]
        assert len(lines(log, "new ones wait")) == 1
        assert log.stat().st_size < 50_000
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("loop", LOOPS)
async def test_server_that_cannot_open_any_file_waits_until_it_can(
    database_url: str, tmp_path: Path, loop: str
) -> None:
    """The limit that was looked at when the server started is not the only one: the system's may be reached, too."""
    log = tmp_path / "log"
    async with started(loop, database_url, log) as server:
        kept = await server.connect()
        assert await asked(kept, "/readyz") == 200
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        open_files = max(int(number) for number in os.listdir(f"/proc/{server.pid}/fd")) + 1
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (open_files + 2, limits[1]))
        waiting = [await server.connect() for _ in range(6)]
        await eventually(lambda: len(lines(log, "new ones wait")) == 1)
        assert not await spins(server)
        assert await asked(kept, "/readyz") == 200
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        for connection in waiting:
            assert await asked(connection, "/healthz") == 200
        assert lines(log, "new ones wait") == ["no connection can be accepted: Too many open files: new ones wait"]
        assert log.stat().st_size < 50_000
        assert "Traceback" not in log.read_text()
