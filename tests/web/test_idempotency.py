"""Idempotency-Key on POST …/messages."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg

from tests.kit.http_client import Client, Response
from tests.kit.served_app import serving


async def post(client: Client, conversation: str, key: str, **body: Any) -> Response:
    body = {"role": "user", "content": "x", **body}
    return await client.request("POST", f"/api/conversations/{conversation}/messages", body, {"Idempotency-Key": key})


async def test_same_key_again_gives_the_first_result(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation, other = await client.conversation(), await client.conversation()
        first = await post(client, conversation, "k")
        assert first.status == 201
        again = await post(client, conversation, "k")
        assert (again.status, again.json) == (200, first.json)
        for body in ({"content": "y"}, {"role": "system"}, {"agentId": conversation}):
            refused = await post(client, conversation, "k", **body)
            assert refused.status == 422
            assert refused.json["error"]
        # A key belongs to its conversation, and to its route.
        assert (await post(client, other, "k")).status == 201
        stream = await client.open(
            f"/api/conversations/{conversation}/stream",
            method="POST",
            body={"content": "z"},
            headers={"Idempotency-Key": "k"},
        )
        await stream.rest()
        assert [m["content"] for m in await client.messages(conversation)] == ["x", "z", "Echo from agent: z"]
        assert (await post(client, conversation, "l")).status == 201


async def test_twenty_requests_at_once_store_one_message(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        answers = await asyncio.gather(*(post(client, conversation, "k") for _ in range(20)))
        assert sorted(answer.status for answer in answers) == [200] * 19 + [201]
        assert len({answer.body for answer in answers}) == 1
        assert len(await client.messages(conversation)) == 1


async def test_refused_message_leaves_its_key_free(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        assert (await post(client, conversation, "k", content="")).status == 400
        await client.ok("DELETE", f"/api/conversations/{conversation}")
        assert (await post(client, conversation, "k")).status == 404
        await client.ok("POST", f"/api/conversations/{conversation}/restore")
        assert (await post(client, conversation, "k")).status == 201
        await client.ok("DELETE", f"/api/conversations/{conversation}")
        assert (await post(client, conversation, "k")).status == 404


async def test_malformed_key_is_refused(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        for key in ("", "x" * 256, "two words", "ü"):
            refused = await post(client, conversation, key)
            assert refused.status == 400, key
            assert refused.json["details"][0]["path"] == "Idempotency-Key"
        assert (await post(client, conversation, "x" * 255)).status == 201


async def test_old_keys_are_removed_for_new_ones(database_url: str) -> None:
    async with serving(database_url) as client:
        conversation = await client.conversation()
        for number in range(15):
            await post(client, conversation, f"old-{number}")
        await post(client, conversation, "young")
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "UPDATE chat_sent_keys SET created_at = now() - interval '26 hours' WHERE key LIKE 'old-%'"
            )
            connection.execute("UPDATE chat_sent_keys SET created_at = now() - interval '24 hours' WHERE key = 'young'")
            await post(client, conversation, "new-1")
            assert connection.execute("SELECT count(*) FROM chat_sent_keys").fetchone() == (7,)
            await post(client, conversation, "new-2")
            assert connection.execute("SELECT count(*) FROM chat_sent_keys").fetchone() == (3,)
        assert (await post(client, conversation, "young")).status == 200
        assert (await post(client, conversation, "old-1")).status == 201
