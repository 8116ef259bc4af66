"""`chatserver erase` beside a running server: it stops what is being generated, and leaves nothing of the texts."""

from __future__ import annotations

import asyncio
import unicodedata
from pathlib import Path
from uuid import uuid4

from tests.kit.command import run
from tests.kit.everywhere import found_everywhere
from tests.kit.http_client import stream_path
from tests.kit.server_process import ServerProcess, started
from tests.kit.tokens import make_token

SECRET = "xyzzy"
# In the form in which tokens have it; whoever types it may use another one.
NAME = unicodedata.normalize("NFC", "Jörg")
# The echo waits for long after each piece.
SLOW = '{"slow": {"kind": "echo", "pace_ms": 10000}}'


async def ask(server: ServerProcess, company: str, headers: dict[str, str]) -> tuple[str, str]:
    """A question with the secret: its conversation, and its message."""
    made = await server.request("POST", f"/api/companies/{company}/conversations", {}, headers)
    conversation = made.json["id"]
    body = {"role": "user", "content": f"{SECRET} {SECRET} {SECRET}"}
    key = {**headers, "Idempotency-Key": "a-key"}
    said = await server.request("POST", f"/api/conversations/{conversation}/messages", body, key)
    assert said.status == 201, said
    return conversation, said.json["id"]


async def test_erasing_stops_answers_of_running_servers_and_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    company, other = str(uuid4()), str(uuid4())
    at = ("--database-url", database_url)
    variables = {"CHATSERVER_AUTH": "authenticated", "CHATSERVER_PROVIDERS": SLOW}
    ann, bob = make_token(database_url, company, name="ann"), make_token(database_url, other, name=NAME)
    async with started(*at, **variables) as server:
        place = await ask(server, company, ann.bearer)
        await ask(server, company, ann.bearer)
        others = await ask(server, other, bob.bearer)
        streams = []
        for token, of in ((ann, place), (bob, others)):
            stream = await server.open(stream_path(*of), headers=token.bearer)
            await stream.opened()
            assert (await stream.event())["type"] == "token"
            streams.append(stream)
        erased = await asyncio.to_thread(run, tmp_path, "erase", "--company", company, *at)
        assert (erased.returncode, erased.stderr) == (0, ""), erased
        assert erased.stdout == f"erased the company {company}: conversations 2, agents 0, tokens 1\n"
        assert "done" not in [event["type"] for event in await streams[0].rest()]
        assert (await server.request("GET", f"/api/conversations/{place[0]}", headers=ann.bearer)).status == 401
        assert "chat_messages.content" in found_everywhere(database_url, SECRET)
        typed = f" {unicodedata.normalize('NFD', NAME)} "
        assert NAME not in typed
        erased = await asyncio.to_thread(run, tmp_path, "erase", "--author", typed, *at)
        assert (erased.returncode, erased.stderr) == (0, ""), erased
        assert erased.stdout == f"erased all that {NAME} wrote: messages 1, with the answers to them\n"
        assert [event["type"] for event in await streams[1].rest()][-1:] == ["stopped"]
        assert found_everywhere(database_url, SECRET, samples=True) == set()
        again = await asyncio.to_thread(run, tmp_path, "erase", "--author", typed, "--company", other, *at)
        assert (again.returncode, again.stdout) == (2, "")
        assert again.stderr == (
            f"chatserver: nobody named {NAME} wrote anything in company {other}; nothing was erased\n"
        )
