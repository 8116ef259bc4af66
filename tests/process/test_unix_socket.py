"""A server on a Unix socket, as a process: behind a proxy that signs people in, restarted, killed, and in the way."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest

from tests.kit.event_stream import text_of
from tests.kit.http_client import COMPANY, stream_path
from tests.kit.server_process import launch
from tests.kit.unix_client import UnixClient
from tests.kit.waiting import PATIENCE_SECONDS

PROXY = {
    "CHATSERVER_AUTH": "proxy",
    "CHATSERVER_TRUSTED_PROXIES": "unix",
    "CHATSERVER_MEMBERSHIPS": json.dumps([{"user": "ann", "company": COMPANY}]),
}


async def launched(path: Path, url: str, *more: str, **environment: str) -> asyncio.subprocess.Process:
    return await launch("--host", f"unix:{path}", "--database-url", url, *more, **environment)


async def ready_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        return (await process.stdout.readline()).decode()


async def end(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """The exit status, and the last line on standard error."""
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        _, log = await process.communicate()
    return process.returncode, (log.decode().splitlines() or [""])[-1]


async def test_server_on_a_unix_socket_lives_and_leaves_no_file(tmp_path: Path, database_url: str) -> None:
    path = tmp_path / "chat.sock"
    process = await launched(path, database_url, **PROXY)
    client = UnixClient(path)
    try:
        assert await ready_line(process) == f"chatserver ready at unix:{path}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o660

        # Whoever may connect is a trusted proxy: what it says of users is believed, and it sees the operator's.
        assert (await client.request("GET", "/metrics")).status == 200
        assert (await client.request("GET", "/api/providers")).status == 401
        evil = await client.request("GET", "/metrics", headers={"Host": "evil.example"})
        assert evil.error == (403, "Host is not a name of this server")
        client.headers = {"X-Forwarded-User": "ann", "X-Forwarded-For": "198.51.100.7"}
        assert (await client.request("GET", "/metrics")).status == 403
        conversation = await client.conversation()
        stream = await client.open(stream_path(conversation), method="POST", body={"content": "hello"})
        assert text_of(await stream.rest()) == "Echo from agent: hello"

        other = await launched(path, database_url, **PROXY)
        status, line = await end(other)
        assert (status, line) == (2, f"chatserver: cannot listen at unix:{path}: another process listens there")
        assert (await client.request("GET", "/api/providers")).status == 200

        process.terminate()
        assert (await end(process))[0] == 0
        assert not path.exists()
    finally:
        await client.close()
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_killed_server_is_no_obstacle_and_what_is_in_the_way_is_told(tmp_path: Path, database_url: str) -> None:
    path = tmp_path / "chat.sock"
    process = await launched(path, database_url)
    await ready_line(process)
    process.kill()
    await process.communicate()
    assert path.exists()
    process = await launched(path, database_url)
    client = UnixClient(path)
    try:
        await ready_line(process)
        # Without `unix` in trusted_proxies its peers are no proxies, and local_trusted is as it is elsewhere.
        assert (await client.request("GET", "/api/session")).json["mode"] == "local_trusted"
    finally:
        await client.close()
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
    path.write_text("precious")
    assert await end(await launched(path, database_url)) == (
        2,
        f"chatserver: cannot listen at unix:{path}: there is a file that is no socket",
    )
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (("--host", "0.0.0.0"), {"CHATSERVER_AUTH": "authenticated"}, "allow_plain_http = true"),
        (("--host", "unix:/tmp/x.sock", "--reuse-port"), {}, "--reuse-port"),
        ((), {**PROXY, "CHATSERVER_TRUSTED_PROXIES": ""}, "trusted_proxies"),
        ((), {**PROXY, "CHATSERVER_MEMBERSHIPS": "[]"}, "[[memberships]]"),
    ],
)
async def test_unsafe_start_is_refused_in_one_line(
    arguments: tuple[str, ...], environment: dict[str, str], named: str, database_url: str
) -> None:
    process = await launch("--database-url", database_url, *arguments, **environment)
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        output, log = await process.communicate()
    assert (process.returncode, output, log.decode().count("\n")) == (2, b"", 1)
    assert named in log.decode()
