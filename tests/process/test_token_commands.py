"""The commands about tokens and the audit log, beside a running server and without one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import psycopg

from chatserver import credentials
from tests.kit.command import Chatserver, environment, run
from tests.kit.http_client import COMPANY
from tests.kit.server_process import ServerProcess, started
from tests.kit.waiting import eventually

OTHER = "00000000-0000-4000-8000-000000000002"
CONVERSATIONS = f"/api/companies/{COMPANY}/conversations"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


async def statuses(server: ServerProcess, token: str) -> tuple[int, int, int]:
    """Of reading, writing, and making an agent."""
    headers = {"Authorization": f"Bearer {token}"}
    agent = {"name": "A", "adapterType": "echo"}
    responses = [
        await server.request("GET", CONVERSATIONS, headers=headers),
        await server.request("POST", CONVERSATIONS, {}, headers),
        await server.request("POST", f"/api/companies/{COMPANY}/agents", agent, headers),
    ]
    read, write, manage = (response.status for response in responses)
    return read, write, manage


async def test_tokens_let_in_what_their_role_says_and_nothing_when_revoked(
    chatserver: Chatserver, database_url: str
) -> None:
    def token(*argv: str) -> str:
        return chatserver("token", *argv, "--database-url", database_url)

    async with started("--database-url", database_url, CHATSERVER_AUTH="authenticated") as server:
        printed = token("create", "--company", COMPANY, "--name", "Ann B")
        ann = printed.split()[-1]
        assert credentials.is_token(ann)
        assert len(printed.splitlines()) == 1
        [line] = token("list").splitlines()
        identity = line.split()[0]
        assert re.fullmatch(
            rf'{identity} {COMPANY} member "Ann B" created={TIME} expires={TIME} used=never revoked=no', line
        )
        assert await statuses(server, ann) == (200, 201, 403)
        signed_in = await server.request("POST", "/api/session", {"token": ann})
        assert signed_in.status == 204
        cookie = {"Cookie": signed_in.headers["Set-Cookie"].partition(";")[0]}
        token("change", identity, "--role", "reader")
        assert await statuses(server, ann) == (200, 403, 403)
        assert (await server.request("POST", CONVERSATIONS, {}, cookie)).status == 403
        assert token("revoke", identity) == f'token {identity} of "Ann B" was revoked\n'
        assert await statuses(server, ann) == (401, 401, 401)
        assert (await server.request("GET", CONVERSATIONS, headers=cookie)).status == 401

        admin = token("create", "--admin", "--name", "root", "--expires", "0").split()[-1]
        assert await statuses(server, admin) == (200, 201, 201)
        assert token("revoke", "--all", "--admin") == "revoked 1 token\n"
        assert await statuses(server, admin) == (401, 401, 401)

    [_, line] = token("list").splitlines()
    assert re.search(rf" administrator manager root created={TIME} expires=never used={TIME} revoked={TIME}$", line)
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("SELECT string_agg(t::text, ' ') FROM api_tokens t").fetchone()
        assert stored is not None
        assert not any(secret[11:] in stored[0] for secret in (ann, admin))
    log(chatserver, database_url, identity)


def log(chatserver: Chatserver, url: str, identity: str) -> None:
    """What the audit log says of all this."""
    lines = chatserver("audit", "--json", "--database-url", url).splitlines()
    entries = [json.loads(line) for line in lines]
    assert all(
        set(entry)
        == {"id", "at", "event", "version", "companyId", "actor", "tokenId", "address", "requestId", "details"}
        for entry in entries
    )
    changes = [entry for entry in entries if entry["event"].startswith("token_")]
    assert [entry["event"].removeprefix("token_") for entry in changes] == (
        ["created", "changed", "revoked", "created", "revoked"]
    )
    assert all(entry["actor"] is None and entry["address"] is None for entry in changes)
    assert changes[1]["details"] == {
        "tokenId": identity,
        "tokenName": "Ann B",
        "formerRole": "member",
        "role": "reader",
    }
    printed = chatserver("audit", "--since", "1h", "--company", COMPANY, "--database-url", url)
    shown = [line for line in printed.splitlines() if " token_" in line]
    assert shown[1].endswith(
        f'token_changed         company={COMPANY} role=reader tokenId={identity} tokenName="Ann B" formerRole=member'
    )
    assert not any("tokenName=root" in line for line in shown)


async def test_first_start_says_how_to_make_a_token_which_then_works(chatserver: Chatserver, tmp_path: Path) -> None:
    file = tmp_path / "log"
    data = str(tmp_path / "data")
    async with started("--data-dir", data, log=file, CHATSERVER_AUTH="authenticated") as server:
        await eventually(lambda: file.read_text().count("chatserver token create --admin --name NAME") == 1)
        assert (await server.request("GET", CONVERSATIONS)).status == 401
        token = chatserver("token", "create", "--admin", "--name", "root", "--data-dir", data).split()[-1]
        assert await statuses(server, token) == (200, 201, 201)
        server.terminate()
        await server.ended()
    async with started("--data-dir", data, log=file, CHATSERVER_AUTH="authenticated") as server:
        server.terminate()
        await server.ended()
        assert "token create" not in file.read_text()


def test_token_that_is_not_there_is_one_clear_line(tmp_path: Path, database_url: str) -> None:
    result = run(tmp_path, "token", "revoke", OTHER, "--database-url", database_url)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"chatserver: There is no token {OTHER}\n"


def test_audit_ends_quietly_when_nobody_reads_on(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO chat_audit SELECT gen_random_uuid(), now(), 1, 'sign_out', NULL, repeat('x', 100), NULL, NULL,"
            " NULL, '{}' FROM generate_series(1, 2500)"
        )
    command = f"{sys.executable} -m chatserver audit --database-url '{database_url}' | head -1"
    result = subprocess.run(
        ["/bin/sh", "-c", command], env=environment(), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (len(result.stdout.splitlines()), result.stderr) == (1, "")
