"""What one company may take of all processes together: answers that are being generated, and open streams."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from chatserver.storage import company_bounds
from tests.kit.http_client import COMPANY, Client, Response, stream_path
from tests.kit.http_connection import Connection
from tests.kit.model_server import ModelServer
from tests.kit.served_app import Served, serving
from tests.kit.waiting import eventually

FULL_OF_RUNS = "Too many answers of this company are being generated"
FULL_OF_STREAMS = "Too many streams of this company are open"
ECHO: dict[str, Any] = {"providers": {"slow": {"kind": "echo", "pace_ms": 10_000}}, "default_provider": "slow"}
"""An answer goes on until the test ends."""


def refusals(client: Served, bound: str) -> float:
    return client.app.metrics.registry.get_sample_value("chatserver_refusals_total", {"bound": bound}) or 0


async def asked(client: Client, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Connection]:
    """The status of a request whose response may last, and its connection."""
    connection = await client.connect()
    await connection.send(method, path, body, headers)
    status, answered = await connection.head()
    assert (status == 429) == ("Retry-After" in answered)
    return status, connection


def refused(response: Response, message: str) -> bool:
    return response.error == (429, message) and int(response.headers["Retry-After"]) > 0


async def phantom(url: str, conversation: str, trigger: str) -> None:
    """An answer that a further process generates."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO chat_runs (id, conversation_id, trigger_message_id, status, owner, epoch, lease_until,"
            " continues, company_id, started_at) VALUES (gen_random_uuid(), %s, %s, 'active', gen_random_uuid(), 1,"
            " now() + interval '1 hour', false, %s, now())",
            [conversation, trigger, COMPANY],
        )


async def kill(url: str, conversation: str) -> None:
    """Let the lease of that answer end: its process has died."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "UPDATE chat_runs SET lease_until = now() - interval '1 s' WHERE conversation_id = %s", [conversation]
        )


# --- answers ----------------------------------------------------------------------------------------------


async def test_a_company_begins_no_more_answers_than_it_may_on_all_processes_together(database_url: str) -> None:
    async with (
        serving(database_url, company_max_runs=3, **ECHO) as one,
        serving(database_url, company_max_runs=3, **ECHO) as two,
    ):
        conversations = [await one.conversation() for _ in range(12)]
        triggers = {place: await one.say(place, "x") for place in conversations[::2]}

        async def ask(at: int, place: str) -> tuple[int, Connection]:
            client = (one, two)[at // 2 % 2]
            if place in triggers:
                return await asked(client, "GET", stream_path(place, triggers[place]))
            headers = {"Idempotency-Key": place} if at % 3 else {}
            return await asked(client, "POST", stream_path(place), {"content": "y"}, **headers)

        outcomes = await asyncio.gather(*(ask(at, place) for at, place in enumerate(conversations)))
        assert Counter(status for status, _ in outcomes) == {200: 3, 429: 9}
        assert refusals(one, "company_max_runs") + refusals(two, "company_max_runs") == 9
        begun = [place for place, (status, _) in zip(conversations, outcomes, strict=True) if status == 200]
        for place in conversations:
            messages = await two.messages(place)
            assert len(messages) == (place in triggers or place in begun)
        # Joining and resuming begin nothing, and a client that comes back is told to come back again.
        joined = await two.stream(begun[0])
        assert (await asked(one, "GET", stream_path(begun[0]), **{"Last-Event-ID": str(joined.last_id)}))[0] == 200
        left, other = [place for place in conversations if place not in begun][:2]
        away = await one.stream(left, last_id="nonsense")
        assert await away.rest() == []
        assert away.retry is not None
        # Another company is not concerned.
        foreign = await one.ok("POST", f"/api/companies/{uuid4()}/conversations", {})
        assert (await asked(two, "POST", stream_path(foreign["id"]), {"content": "z"}))[0] == 200
        # When one ends there is room for one, and its idempotency key was not used up.
        assert refused(
            await one.request("POST", stream_path(left), {"content": "y"}, {"Idempotency-Key": left}), FULL_OF_RUNS
        )
        assert (await two.request("POST", f"/api/conversations/{begun[0]}/stop", {})).json == {"stopped": True}
        assert (await asked(one, "POST", stream_path(left), {"content": "w"}, **{"Idempotency-Key": left}))[0] == 200
        assert (await asked(two, "POST", stream_path(other), {"content": "y"}))[0] == 429


async def test_an_answer_that_waits_for_its_turn_waits_on_while_the_company_is_full(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    ask = company_bounds.has_room_for_run

    def noted(*args: Any) -> bool:
        found.append(ask(*args))
        return found[-1]

    monkeypatch.setattr(company_bounds, "has_room_for_run", noted)
    async with ModelServer() as model, serving(database_url, company_max_runs=1, **model.settings) as client:
        here, there = await client.conversation(), await client.conversation()
        first, second = await client.say(here, "x"), await client.say(here, "y")
        elsewhere = await client.say(there, "z")
        stream = await client.stream(here, first)
        call = await model.call()
        assert (await client.refused(here, second)).status == 409
        queued = await client.stream(here, second, whenBusy="enqueue")
        await phantom(database_url, there, elsewhere)
        await call.send("one")
        await call.finish()
        assert (await stream.rest())[-1]["type"] == "done"
        await eventually(lambda: len(found) == 3)  # it looks again and again
        assert (found, model.calls) == ([True, False, False], 1)
        await kill(database_url, there)
        again = await model.call()
        # The answer of the process that died is taken over: it is not a new one.
        taken_over = await client.stream(there, elsewhere)
        other = await model.call()
        for answer, text in ((again, "two"), (other, "three")):
            await answer.send(text)
            await answer.finish()
        assert [(await each.rest())[0]["content"] for each in (queued, taken_over)] == ["two", "three"]


# --- streams ----------------------------------------------------------------------------------------------


async def test_a_company_opens_no_more_streams_than_it_may_on_all_processes_together(database_url: str) -> None:
    async with (
        serving(database_url, company_max_streams=3, **ECHO) as one,
        serving(database_url, company_max_streams=3, **ECHO) as two,
    ):
        conversation = await one.conversation()
        trigger = await one.say(conversation, "x")
        path = stream_path(conversation, trigger)
        outcomes = await asyncio.gather(*(asked((one, two)[at % 2], "GET", path) for at in range(10)))
        assert Counter(status for status, _ in outcomes) == {200: 3, 429: 7}
        assert refusals(one, "company_max_streams") + refusals(two, "company_max_streams") == 7
        other = await two.conversation()
        posted = await two.request("POST", stream_path(other), {"content": "x"}, {"Idempotency-Key": "k"})
        assert refused(posted, FULL_OF_STREAMS)
        assert await two.messages(other) == []
        # Exports are streams, too, and who comes back is told to come back again.
        assert refused(await one.request("GET", f"/api/conversations/{other}/export"), FULL_OF_STREAMS)
        assert await (await one.stream(conversation, trigger, last_id="nonsense")).rest() == []
        assert (await one.request("GET", stream_path(str(uuid4())))).status == 404
        foreign = await one.ok("POST", f"/api/companies/{uuid4()}/conversations", {})
        assert (await asked(two, "POST", stream_path(foreign["id"]), {"content": "z"}))[0] == 200
        # What closes on one process makes room on both.
        for client in (two, one):
            at = next(at for at, (status, _) in enumerate(outcomes) if status == 200)
            outcomes.pop(at)[1].close()

            async def exported(client: Client = client) -> bool:
                return (await client.request("GET", f"/api/conversations/{other}/export")).status == 200

            await eventually(exported)


async def test_streams_of_a_process_that_died_stopcounting(database_url: str) -> None:
    async with serving(database_url, company_max_streams=2, **ECHO) as client:
        conversation = await client.conversation()
        path = stream_path(conversation, await client.say(conversation, "x"))
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            await connection.execute(
                "INSERT INTO chat_open_streams VALUES (%s, gen_random_uuid(), 2, now() + interval '1 hour')", [COMPANY]
            )
            assert (await asked(client, "GET", path))[0] == 429
            await connection.execute("UPDATE chat_open_streams SET counted_until = now()")
            assert [(await asked(client, "GET", path))[0] for _ in range(3)] == [200, 200, 429]


async def test_streams_are_refused_while_the_database_is_away(database_url: str) -> None:
    async with serving(database_url, company_max_streams=2, **ECHO) as client:
        conversation = await client.conversation()
        path = stream_path(conversation, await client.say(conversation, "x"))
        assert (await asked(client, "GET", path))[0] == 200
        client.app.counting.close()
        response = await client.request("GET", path)
        assert response.error == (503, "The database is not available")
        assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize("limit", [0, 5])
async def test_the_end_of_a_process_leaves_nothing_behind(database_url: str, limit: int) -> None:
    async with serving(database_url, company_max_streams=limit, **ECHO) as client:
        conversation = await client.conversation()
        await client.say(conversation, "x")
        stream = await client.stream(conversation)
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            rows = await (await connection.execute("SELECT streams FROM chat_open_streams")).fetchall()
        assert rows == ([(1,)] if limit else [])
        stream.connection.close()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        assert await (await connection.execute("SELECT FROM chat_open_streams")).fetchall() == []
