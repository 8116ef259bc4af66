"""A token that is revoked on the command line ends what goes on by it, on every process."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.kit.command import Chatserver, run
from tests.kit.event_stream import EventStream
from tests.kit.http_client import Client, stream_path
from tests.kit.server_process import started
from tests.kit.waiting import PATIENCE_SECONDS

# The answer to a long question takes for ever.
QUESTION = "x " * 40_000
SLOW = json.dumps({"slow": {"kind": "echo", "pace_ms": 50}})


class Speaker:
    """Somebody with a token."""

    def __init__(self, command: Chatserver, url: str, company: str, name: str) -> None:
        made = command("token", "create", "--company", company, "--name", name, "--database-url", url)
        self.token = made.split()[-1]
        self.bearer = {"Authorization": f"Bearer {self.token}"}
        listed = command("token", "list", "--company", company, "--database-url", url)
        [self.id] = [line.split()[0] for line in listed.splitlines() if name in line]
        self._company = company

    async def asks(self, server: Client, conversation: str | None = None) -> tuple[str, str]:
        """A question, in a conversation of its own by default."""
        if conversation is None:
            made = await server.request("POST", f"/api/companies/{self._company}/conversations", {}, self.bearer)
            conversation = made.json["id"]
        body = {"role": "user", "content": QUESTION}
        said = await server.request("POST", f"/api/conversations/{conversation}/messages", body, self.bearer)
        return str(conversation), said.json["id"]

    async def follows(self, server: Client, place: tuple[str, str], **query: str) -> EventStream:
        stream = await server.open(stream_path(*place, **query), headers=self.bearer)
        await stream.opened()
        return stream


@pytest.mark.parametrize("processes", [1, 2])
async def test_revoked_token_ends_streams_and_continuing_answers(
    chatserver: Chatserver, database_url: str, tmp_path: Path, processes: int
) -> None:
    company = str(uuid4())
    ann, bob = (Speaker(chatserver, database_url, company, name) for name in ("ann", "bob"))
    settings = {
        "CHATSERVER_AUTH": "authenticated",
        "CHATSERVER_PROVIDERS": SLOW,
        "CHATSERVER_DATABASE_URL": database_url,
    }
    async with AsyncExitStack() as stack:
        one, *others = [
            await stack.enter_async_context(started(log=tmp_path / f"log {number}", **settings))
            for number in range(processes)
        ]
        other = others[0] if others else one
        shared = await ann.asks(one)
        anns = await ann.follows(one, shared)
        assert (await anns.event())["type"] == "token"
        far = await ann.follows(other, shared)
        bobs = await bob.follows(other, shared)
        queued = await ann.follows(other, await ann.asks(other, shared[0]), whenBusy="enqueue")
        alone = await ann.asks(other)
        left = await ann.follows(other, alone, onDisconnect="continue")
        assert (await left.event())["type"] == "token"
        left.leave()

        chatserver("token", "revoke", ann.id, "--database-url", database_url)
        async with asyncio.timeout(PATIENCE_SECONDS):
            for stream in (anns, far, queued):
                events = await stream.rest()
                assert {event["type"] for event in events} <= {"token"}
            assert anns.last_id is not None
            headers = {**ann.bearer, "Last-Event-ID": anns.last_id}
            for server in (one, other):
                assert (await server.request("GET", stream_path(*shared), headers=headers)).status == 401
            # What nobody with access waits for is dropped; what bob reads goes on.
            while active(database_url) != [shared[1]]:
                await asyncio.sleep(0.05)
        bobs.leave()


def active(url: str) -> list[str]:
    """The questions whose answers are being generated."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT trigger_message_id::text FROM chat_runs WHERE status = 'active'")
        return [row[0] for row in rows]


async def test_doctor_signs_in_with_a_managers_token(chatserver: Chatserver, database_url: str, tmp_path: Path) -> None:
    company = str(uuid4())
    command = ("token", "create", "--company", company, "--name", "doctor", "--database-url", database_url, "--role")
    manager, reader = (chatserver(*command, role).split()[-1] for role in ("manager", "reader"))
    settings = {
        "CHATSERVER_AUTH": "authenticated",
        "CHATSERVER_DATABASE_URL": database_url,
        "CHATSERVER_PING_SECONDS": "1",
    }
    async with started(log=tmp_path / "log", **settings) as server:
        asked = ("doctor", server.url, "--token-env", "SECRET")
        report = await asyncio.to_thread(chatserver, *asked, SECRET=manager)
        assert [line.split()[:2] for line in report.splitlines()] == [
            ["ok", f"{check}:"]
            for check in ("healthz", "readyz", "session", "conversation", "stream", "pings", "clean-up")
        ]
        for options, failed in (((*asked,), "conversation"), (asked[:2], "session")):
            result = await asyncio.to_thread(run, tmp_path, *options, SECRET=reader)
            assert result.returncode == 1
            assert f"FAIL  {failed}:" in result.stdout
            assert "manager's token" in result.stdout
        result = await asyncio.to_thread(run, tmp_path, *asked, SECRET="x")
        assert (result.returncode, result.stderr) == (2, "chatserver: --token-env: SECRET holds no token\n")
