"""What is open ends when its token is revoked or expires, or its session ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
import pytest

from chatserver.services import access_watch
from tests.kit.event_stream import EventStream
from tests.kit.http_client import COMPANY, stream_path
from tests.kit.http_connection import Connection
from tests.kit.model_server import ModelServer
from tests.kit.served_app import Served, serving
from tests.kit.tokens import Token, execute, make_token, revoke
from tests.kit.waiting import eventually

T = TypeVar("T")

SESSION = "/api/session"
# The echo waits for ever after its first piece.
SLOW = {"slow": {"kind": "echo", "pace_ms": 10_000}}


@asynccontextmanager
async def authenticated(url: str, **settings: Any) -> AsyncIterator[Served]:
    async with serving(url, auth="authenticated", **{"providers": SLOW, **settings}) as client:
        yield client


async def ask(client: Served, token: Token, conversation: str | None = None) -> tuple[str, str]:
    """A question: its conversation, a new one by default, and its message."""
    if conversation is None:
        made = await client.request("POST", f"/api/companies/{COMPANY}/conversations", {}, token.bearer)
        conversation = made.json["id"]
    path = f"/api/conversations/{conversation}/messages"
    said = await client.request("POST", path, {"role": "user", "content": "a b c"}, token.bearer)
    return str(conversation), said.json["id"]


async def follow(client: Served, headers: Mapping[str, str], place: tuple[str, str], **query: str) -> EventStream:
    stream = await client.open(stream_path(*place, **query), headers=headers)
    await stream.opened()
    return stream


async def test_stream_of_a_revoked_token_ends_without_an_event(database_url: str) -> None:
    ann, bob = make_token(database_url, COMPANY), make_token(database_url, COMPANY, name="bob")
    async with authenticated(database_url) as client:
        place = await ask(client, ann)
        anns, bobs = await follow(client, ann.bearer, place), await follow(client, bob.bearer, place)
        assert (await anns.event())["type"] == (await bobs.event())["type"] == "token"
        await client.app.context.watch.look()
        revoke(database_url, ann)
        await client.app.context.watch.look()
        assert [event["type"] for event in await anns.rest()] == ["token"]
        assert anns.last_id is not None
        again = await client.request("GET", stream_path(*place), headers={**ann.bearer, "Last-Event-ID": anns.last_id})
        assert again.status == 401
        # The others go on with the answer.
        [run] = client.app.answers
        assert run.wanted
        bobs.leave()


@pytest.mark.parametrize(
    "end",
    [
        "UPDATE api_tokens SET expires_at = now()",
        "UPDATE api_tokens SET revoked_at = now()",
        "UPDATE api_tokens SET role = 'reader'",
        "DELETE FROM api_tokens",
        "DELETE FROM chat_sessions",
        "UPDATE chat_sessions SET used_at = now() - interval '13 hours'",
        "UPDATE chat_sessions SET created_at = now() - interval '31 days'",
    ],
)
async def test_stream_of_a_session_ends_with_the_session_and_with_its_token(database_url: str, end: str) -> None:
    ann = make_token(database_url, COMPANY)
    async with authenticated(database_url) as client:
        place = await ask(client, ann)
        signed_in = await client.request("POST", SESSION, {"token": ann.text})
        cookie = {"Cookie": signed_in.headers["Set-Cookie"].partition(";")[0]}
        stream = await follow(client, cookie, place)
        assert (await stream.event())["type"] == "token"
        await client.app.context.watch.look()
        execute(database_url, end)
        await client.app.context.watch.look()
        assert [event["type"] for event in await stream.rest()] == ["token"]


async def test_sign_out_ends_the_streams_of_that_session_only(database_url: str) -> None:
    ann = make_token(database_url, COMPANY)
    async with authenticated(database_url) as client:
        place = await ask(client, ann)
        cookies = []
        for _ in range(2):
            signed_in = await client.request("POST", SESSION, {"token": ann.text})
            cookies.append({"Cookie": signed_in.headers["Set-Cookie"].partition(";")[0]})
        streams = [await follow(client, headers, place) for headers in (*cookies, ann.bearer)]
        await client.request("DELETE", SESSION, headers=cookies[0])
        await client.app.context.watch.look()
        await streams[0].rest()
        assert len(client.app.streams) == 2
        await client.request("DELETE", f"{SESSION}?everywhere=true", headers=cookies[1])
        await client.app.context.watch.look()
        await streams[1].rest()
        assert len(client.app.streams) == 1
        streams[2].leave()


@pytest.mark.parametrize("loss", ["revoked_at = now()", "role = 'reader'"])
async def test_stream_that_waits_for_its_turn_ends_too(database_url: str, loss: str) -> None:
    ann, bob = make_token(database_url, COMPANY), make_token(database_url, COMPANY, name="bob")
    async with authenticated(database_url) as client:
        first = await ask(client, bob)
        answering = await follow(client, bob.bearer, first)
        second = await ask(client, ann, first[0])
        waiting = await follow(client, ann.bearer, second, whenBusy="enqueue")
        assert len(client.app.answers) == 2
        execute(database_url, f"UPDATE api_tokens SET {loss} WHERE id = %s", ann.id)
        await client.app.context.watch.look()
        assert await waiting.rest() == []
        [left] = client.app.answers
        assert str(left.key.trigger_id) == first[1]
        answering.leave()


@asynccontextmanager
async def places_held(url: str) -> AsyncIterator[None]:
    """In here no stream gets its place among those of its company."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("LOCK TABLE chat_open_streams IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_is_begun_for_who_loses_access_while_the_stream_opens(database_url: str, method: str) -> None:
    ann, bob = make_token(database_url, COMPANY), make_token(database_url, COMPANY, name="bob")
    async with authenticated(database_url, company_max_streams=5) as client:
        place = await ask(client, ann)
        connection = await client.connect()
        async with places_held(database_url):
            body = {"content": "x"} if method == "POST" else None
            await connection.send(method, stream_path(place[0]), body, ann.bearer)
            await eventually(lambda: len(client.app.streams) == 1)
            revoke(database_url, ann)
            await client.app.context.watch.look()
        await client.app.streams.wait_empty()
        assert list(client.app.answers) == []
        path = f"/api/conversations/{place[0]}"
        assert (await client.request("GET", path, headers=bob.bearer)).json["activeRun"] is None
        messages = (await client.request("GET", f"{path}/messages", headers=bob.bearer)).json["items"]
        assert [message["id"] for message in messages] == [place[1]]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await connection.head()


async def test_answer_that_was_begun_while_its_asker_was_looked_up_ends_with_the_others(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = make_token(database_url, COMPANY)
    async with ModelServer() as model, authenticated(database_url, company_max_streams=5, **model.settings) as client:
        place, watch = await ask(client, ann), client.app.context.watch
        looked, known = asyncio.Event(), asyncio.Event()
        database = watch._database

        class Slow:
            """Its results come late."""

            async def autocommit(self, function: Callable[[Any], T]) -> T:
                result = await database.autocommit(function)
                looked.set()
                await known.wait()
                return result

        monkeypatch.setattr(watch, "_database", Slow())
        opening = await client.connect()
        async with places_held(database_url):
            await opening.send("GET", stream_path(*place, onDisconnect="continue"), None, ann.bearer)
            await eventually(lambda: len(client.app.streams) == 1)
            revoke(database_url, ann)
            look = asyncio.create_task(watch.look())
            await looked.wait()
        call = await model.call()
        assert client.app.answers.askers() == {ann.id}
        known.set()
        await look
        await call.closed()
        await eventually(lambda: not list(client.app.answers))


async def test_export_is_cut_off(database_url: str) -> None:
    ann = make_token(database_url, COMPANY)
    async with authenticated(database_url) as client:
        conversation, _ = await ask(client, ann)
        for _ in range(80):
            body = {"role": "user", "content": "x" * 100_000}
            await client.request("POST", f"/api/conversations/{conversation}/messages", body, ann.bearer)
        connection = await client.connect(receive_buffer=4_096)
        await connection.send("GET", f"/api/conversations/{conversation}/export?format=json", None, ann.bearer)
        assert (await connection.head())[0] == 200
        revoke(database_url, ann)
        await client.app.context.watch.look()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await _all_chunks(connection)
        assert len(client.app.streams) == 0


async def test_nobody_is_trusted_for_long_without_the_database(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_watch, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(access_watch, "UNSEEN_SECONDS", 0.1)
    ann = make_token(database_url, COMPANY)
    async with authenticated(database_url) as client:
        stream = await follow(client, ann.bearer, await ask(client, ann))
        client.app.context.watch.start()
        client.app.pulse.close()
        await stream.rest()


async def test_whoever_left_is_not_looked_after(database_url: str) -> None:
    ann = make_token(database_url, COMPANY)
    async with authenticated(database_url) as client:
        stream = await follow(client, ann.bearer, await ask(client, ann))
        watch = client.app.context.watch
        assert len(watch._holders) == 1
        stream.leave()
        await client.app.streams.wait_empty()
        await client.request("GET", "/api/session")
        assert watch._holders == {}


async def _all_chunks(connection: Connection) -> None:
    while await connection.chunk():
        pass
