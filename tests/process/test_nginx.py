"""The sites of `conf/` for nginx, in front of a real server: nobody gets in until it is said, and streams stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tornado.httputil import HTTPHeaders

from tests.kit.event_stream import text_of
from tests.kit.http_client import COMPANY, Client, stream_path
from tests.kit.model_server import ModelServer
from tests.kit.nginx import PUBLIC_NAME, free_port, site
from tests.kit.server_process import launch, started
from tests.kit.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.nginx

ORIGIN = {"Origin": f"https://{PUBLIC_NAME}", "Sec-Fetch-Site": "same-origin"}
SESSIONS = {
    "_oauth2_proxy=anns": {"User": "4711", "Email": "ann@example.org", "Groups": "support,staff"},
    "_oauth2_proxy=bobs": {"User": "4712", "Email": "bob@example.org"},
    "Bearer programs": {"User": "4713", "Email": "program@example.org", "Groups": "staff"},
}
MEMBERSHIPS = [
    {"group": "support", "company": COMPANY},
    {"user": "root@example.org", "admin": True},
    {"user": "program@example.org", "company": COMPANY, "role": "reader"},
]


async def answers_word_by_word(client: Client, model: ModelServer, conversation: str) -> None:
    """A model's word is there before the model says the next."""
    path = stream_path(conversation)
    stream = await client.open(path, method="POST", body={"content": "x"}, headers=ORIGIN)
    call = await model.call()
    for word in ("one", " two", " three"):
        await call.send(word)
        assert await stream.event() == {"type": "token", "content": word}
    await call.finish()
    assert text_of(await stream.rest()) == "one two three"


async def test_site_lets_nobody_in_until_it_is_edited_and_then_streams(tmp_path: Path, database_url: str) -> None:
    async with (
        ModelServer() as model,
        started(
            "--database-url",
            database_url,
            CHATSERVER_ALLOWED_HOSTS=PUBLIC_NAME,
            CHATSERVER_TRUSTED_PROXIES="127.0.0.1",
            **model.environment,
        ) as server,
    ):
        upstream = {"server 127.0.0.1:8000;": f"server 127.0.0.1:{server.port};"}
        async with site(tmp_path / "untouched", "nginx.conf", upstream) as client:
            for path in ("/", "/api/session", "/healthz", "/metrics", "/static/js/app.js"):
                assert (await client.request("GET", path)).status == 403
        async with site(tmp_path / "edited", "nginx.conf", {**upstream, "    deny all;\n\n": "\n"}) as client:
            assert (await client.request("GET", "/", headers=ORIGIN)).status == 200
            await answers_word_by_word(client, model, await client.conversation())
            for path in ("/metrics", "/readyz", "/api/openapi.json"):
                assert (await client.request("GET", path)).status == 403, "the operator's tools ask the server itself"
            large = await client.request("POST", "/api/session", b"x" * 1_100_000)
            assert large.error == (413, "Request body is too large")


# --- single sign-on ---------------------------------------------------------------------------------------


async def _oauth2_proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks as oauth2-proxy does with --reverse-proxy and --set-xauthrequest: 202 and who it is, or 401."""
    first, _, lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").partition("\r\n")
    headers = HTTPHeaders.parse(lines)
    person = SESSIONS.get(headers.get("Cookie", "")) or SESSIONS.get(headers.get("Authorization", ""))
    if not first.startswith("GET /oauth2/auth "):
        body = f"sign in: {first.split()[1]}"
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    elif person is None:
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    else:
        told = "".join(f"X-Auth-Request-{name}: {value}\r\n" for name, value in person.items())
        writer.write(f"HTTP/1.1 202 Accepted\r\n{told}Content-Length: 0\r\n\r\n".encode())
    writer.close()


@asynccontextmanager
async def single_sign_on(tmp_path: Path, url: str, environment: Mapping[str, str]) -> AsyncIterator[Client]:
    """The site with oauth2-proxy's stand-in, and a server on a Unix socket behind them."""
    path = tmp_path / "chat.sock"
    process = await launch(
        *("--host", f"unix:{path}", "--database-url", url),
        CHATSERVER_AUTH="proxy",
        CHATSERVER_ALLOWED_HOSTS=PUBLIC_NAME,
        CHATSERVER_TRUSTED_PROXIES="unix",
        CHATSERVER_MEMBERSHIPS=json.dumps(MEMBERSHIPS),
        **environment,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            assert (await process.stdout.readline()).startswith(b"chatserver ready at unix:")
        port = free_port()
        replacing = {"/run/chatserver/chatserver.sock;": f"{path};", "127.0.0.1:4180": f"127.0.0.1:{port}"}
        async with (
            await asyncio.start_server(_oauth2_proxy, "127.0.0.1", port),
            site(tmp_path / "nginx", "nginx-oauth2-proxy.conf", replacing) as client,
        ):
            yield client
    finally:
        process.terminate()
        await process.communicate()


async def test_single_sign_on_lets_in_whom_the_proxy_names_and_believes_no_client(
    tmp_path: Path, database_url: str
) -> None:
    forged = {"X-Forwarded-User": "root@example.org", "X-Forwarded-Groups": "support", "X-Forwarded-For": "127.0.0.1"}
    ann = {"Cookie": "_oauth2_proxy=anns"}
    async with ModelServer() as model, single_sign_on(tmp_path, database_url, model.environment) as client:
        # Nobody: a person is led to sign in, a program is told.
        for headers in ({}, forged, {"Cookie": "_oauth2_proxy=nobodys"}):
            page = await client.request("GET", "/c/x?a=b", headers=headers)
            assert (page.status, page.headers["Location"]) == (302, "/oauth2/sign_in?rd=/c/x?a=b")
            for path in ("/api/session", f"/api/companies/{COMPANY}/conversations", stream_path(COMPANY)):
                refused = await client.request("GET", path, headers=headers)
                assert refused.error == (401, "Sign in first")
                assert refused.headers["Content-Type"] == "application/json"
            assert (await client.request("GET", "/healthz", headers=headers)).status == 200
            assert (await client.request("GET", "/oauth2/sign_in", headers=headers)).body == b"sign in: /oauth2/sign_in"
            assert (await client.request("GET", "/oauth2/auth", headers=headers)).status == 404
        # Whom the proxy names is who they are, whatever they say themselves.
        for headers in (ann, {**ann, **forged}):
            session = (await client.request("GET", "/api/session", headers=headers)).json
            assert session["actor"] == {"name": "ann@example.org"}
            assert session["companies"] == [{"id": COMPANY, "role": "member"}]
            for path in ("/metrics", "/readyz", "/api/openapi.json"):
                assert (await client.request("GET", path, headers=headers)).status == 403
        assert (await client.request("GET", "/", headers=ann)).status == 200
        bob = await client.request("GET", "/api/session", headers={"Cookie": "_oauth2_proxy=bobs", **forged})
        assert (bob.json["actor"], bob.json["companies"]) == ({"name": "bob@example.org"}, [])
        program = {"Authorization": "Bearer programs"}
        path = f"/api/companies/{COMPANY}/conversations"
        assert (await client.request("GET", path, headers=program)).status == 200
        assert (await client.request("POST", path, {}, program)).error == (403, "It takes the role member")
        # And a conversation.
        client.headers.update(ann)
        evil = {"Origin": "https://evil.example"}
        assert (await client.request("POST", path, {}, evil)).error == (403, "Origin is another site")
        await answers_word_by_word(client, model, await client.conversation())
