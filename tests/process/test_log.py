"""The log of a server as an operator reads it, or does not read it: standard error may take nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chatserver.logs.repeats import TOLD_REFUSALS, WINDOW_SECONDS
from tests.kit.process_table import ROOT
from tests.kit.server_process import ServerProcess, ready, started
from tests.kit.waiting import PATIENCE_SECONDS, eventually

# A page whose path makes a line of nearly the greatest length.
LONG_PATH = "/c/" + "x" * 7_000
# The lines of so many requests are more than the pipe, its reader and the server hold.
MANY = 800
ENDS_WITHIN_SECONDS = 20.0


@asynccontextmanager
async def unread(database_url: str) -> AsyncIterator[tuple[ServerProcess, int]]:
    """A server whose standard error is full, and of which lines are lost already; and the end of the pipe to read."""
    reading, writing = os.pipe()
    try:
        async with started("--database-url", database_url, log=Path(f"/proc/self/fd/{writing}")) as server:
            os.close(writing)
            for _ in range(MANY):
                assert (await server.request("GET", LONG_PATH)).status == 200
            await eventually(lambda: has_lost_lines(server))
            yield server, reading
    finally:
        os.close(reading)


async def has_lost_lines(server: ServerProcess) -> bool:
    metrics = (await server.request("GET", "/metrics")).body.decode()
    (line,) = [line for line in metrics.splitlines() if line.startswith("chatserver_log_lines_lost_total")]
    return float(line.split()[1]) > 0


def lost_line(reading: int) -> dict[str, Any]:
    """Read up to the line that says how many lines were lost."""
    with open(reading, closefd=False) as log:
        return next(line for line in map(json.loads, log) if "lost" in line)


async def test_server_whose_log_nobody_reads_goes_on(database_url: str) -> None:
    async with unread(database_url) as (server, reading):
        conversation = await server.conversation()
        assert (await server.request("GET", f"/api/conversations/{conversation}")).status == 200
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = await asyncio.to_thread(lost_line, reading)
        assert line["lost"] > 0
        assert "lost" in line["message"]
        assert (await server.request("GET", LONG_PATH)).status == 200


async def test_server_whose_log_nobody_reads_can_be_stopped(database_url: str) -> None:
    async with unread(database_url) as (server, _reading):
        server.terminate()
        async with asyncio.timeout(ENDS_WITHIN_SECONDS):
            assert await server.ended() == (0, "")


async def test_server_whose_log_was_closed_goes_on(database_url: str) -> None:
    """As of `chatserver serve 2>&1 | head`."""
    reading, writing = os.pipe()
    with open(writing, "wb") as pipe:
        async with started("--database-url", database_url, log=Path(f"/proc/self/fd/{pipe.fileno()}")) as server:
            os.close(reading)
            for _ in range(3):
                assert (await server.request("GET", "/")).status == 200
            await eventually(lambda: has_lost_lines(server))
            server.terminate()
            assert await server.ended() == (0, "")


async def test_server_without_standard_error_serves(database_url: str) -> None:
    """As of `chatserver serve 2>&-`: no socket of the server gets the descriptor, and with it what is printed there."""
    program = "import os, sys; os.close(2); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    arguments = ["-c", program, "-m", "chatserver", "serve", "--port", "0", "--database-url", database_url]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    server = await ready(process)
    try:
        assert os.readlink(f"/proc/{server.pid}/fd/2") == os.devnull
        await server.conversation()
        server.terminate()
        assert await server.ended() == (0, "")
    finally:
        if process.returncode is None:
            process.kill()
        await server.close()


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def test_refused_requests_are_summed_up(database_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    count = 500
    async with started("--database-url", database_url, log=log) as server:
        for _ in range(count):
            assert (await server.request("GET", "/api/session", headers={"Host": "evil.example"})).status == 403
        metrics = (await server.request("GET", "/metrics")).body.decode()
        assert f'method="GET",status="403"}} {count}.0' in metrics

        def refused() -> list[dict[str, Any]]:
            return [line for line in lines_of(log) if line.get("status") == 403]

        def told() -> int:
            return sum(line.get("count", 1) for line in refused())

        await eventually(lambda: told() == count, within_seconds=WINDOW_SECONDS + PATIENCE_SECONDS)
        assert len(refused()) < count / 4
        sums = [line for line in refused() if "count" in line]
        assert sums
        assert all("requestId" not in line for line in sums)
        assert len(refused()) - len(sums) <= TOLD_REFUSALS * len(sums)


async def test_counted_requests_are_told_at_the_end(database_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with started("--database-url", database_url, log=log) as server:
        for _ in range(TOLD_REFUSALS + 5):
            assert (await server.request("GET", "/api/nothing")).status == 404
        server.terminate()
        assert (await server.ended())[0] == 0
    assert sum(line.get("count", 1) for line in lines_of(log) if line.get("status") == 404) == TOLD_REFUSALS + 5


async def test_line_of_a_long_path_is_bounded(database_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with started("--database-url", database_url, log=log) as server:
        for character in ("x", "%E4%B8%96", "\x7f"):
            await server.request("GET", "/api/" + character * (60_000 // len(character)))
        server.terminate()
        assert (await server.ended())[0] == 0
    text = log.read_bytes()
    assert max(len(line) for line in text.splitlines()) <= 8_192
    assert b"characters cut" in text
