"""Messages know who wrote them, members change only their own, and readers start nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from chatserver.sse import EventId
from tests.kit.event_stream import EventStream, text_of
from tests.kit.http_client import COMPANY, Response, stream_path
from tests.kit.model_server import ModelServer
from tests.kit.served_app import Served, serving
from tests.kit.tokens import Token, execute, make_token
from tests.kit.waiting import eventually

MANAGERS_ONLY = (403, "It takes the role manager to change what others wrote")
MEMBERS_ONLY = (403, "It takes the role member")


@dataclass
class Person:
    """Somebody with a token, or without one where everyone is trusted."""

    client: Served
    token: Token | None

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, path, body, {**self._bearer, **given})

    async def ok(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        response = await self.send(method, path, body, **headers)
        assert response.status in (200, 201, 204), response
        return response.json if response.body else None

    async def conversation(self) -> str:
        """The id of a new one."""
        return str((await self.ok("POST", f"/api/companies/{COMPANY}/conversations", {}))["id"])

    async def say(self, conversation: str, content: str, role: str = "user", **headers: str) -> Any:
        path = f"/api/conversations/{conversation}/messages"
        return await self.ok("POST", path, {"role": role, "content": content}, **headers)

    async def messages(self, conversation: str) -> list[Any]:
        page = await self.ok("GET", f"/api/conversations/{conversation}/messages?superseded=include")
        return list(page["items"])

    async def follow(self, conversation: str, trigger: str | None = None, **query: str) -> EventStream:
        stream = await self.client.open(stream_path(conversation, trigger, **query), headers=self._bearer)
        await stream.opened()
        return stream

    async def ask(self, conversation: str, content: str, **headers: str) -> EventStream:
        path = f"/api/conversations/{conversation}/stream"
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.open(path, method="POST", body={"content": content}, headers={**self._bearer, **given})

    async def refusal(self, conversation: str, trigger: str | None = None, **query: str) -> tuple[int, str]:
        last_id = query.pop("last_id", None)
        headers = {} if last_id is None else {"Last_Event_ID": last_id}
        return (await self.send("GET", stream_path(conversation, trigger, **query), **headers)).error

    @property
    def _bearer(self) -> dict[str, str]:
        return {} if self.token is None else self.token.bearer


@asynccontextmanager
async def company(url: str, *roles: str, **settings: Any) -> AsyncIterator[list[Person]]:
    """People of one company with these roles; each is called as their role, with a number if there are several."""
    async with serving(url, auth="authenticated", **settings) as client:
        names = [role if role not in roles[:number] else f"{role} {number}" for number, role in enumerate(roles)]
        made = [make_token(url, COMPANY, role, name=name) for role, name in zip(roles, names, strict=True)]
        yield [Person(client, token) for token in made]


def authors(messages: list[Any]) -> list[str | None]:
    return [message["author"] and message["author"]["name"] for message in messages]


# --- authors ------------------------------------------------------------------------------------------------


async def test_messages_bear_the_names_of_their_authors_wherever_they_are_shown(database_url: str) -> None:
    async with company(database_url, "manager", "member") as (manager, member):
        place = await member.conversation()
        for key in ({}, {"Idempotency_Key": "k"}):
            said = await member.say(place, "hello", **key)
            assert said["author"] == {"name": "member"}
        # Who sends it again under that key did not write it.
        assert await manager.say(place, "hello", Idempotency_Key="k") == said
        await manager.say(place, "Be brief.", "system")
        for key in ({}, {"Idempotency_Key": "s"}):
            stream = await manager.ask(place, "why", **key)
            await stream.rest()
        written = ["member", "member", "manager", "manager", None, "manager", None]
        listed = await member.messages(place)
        assert authors(listed) == written
        # An edit leaves the author as it is.
        edited = await manager.ok("PUT", f"/api/conversations/{place}/messages/{said['id']}", {"content": "hi"})
        assert edited["author"] == {"name": "member"}

        branch = await manager.ok("POST", f"/api/conversations/{place}/branch", {"messageId": listed[-1]["id"]})
        assert authors(await member.messages(branch["id"])) == written
        found = await member.ok("GET", f"/api/companies/{COMPANY}/search?q=hello")
        assert set(authors([hit["message"] for hit in found["items"]])) == {"member"}
        await member.ok("PUT", f"/api/conversations/{place}/messages/{said['id']}/bookmark")
        bookmarks = await member.ok("GET", f"/api/companies/{COMPANY}/bookmarks")
        assert authors([each["message"] for each in bookmarks["items"]]) == ["member"]
        rendered = await member.ok("GET", f"/api/conversations/{place}/messages?render=html")
        assert authors(rendered["items"]) == written
        exported = (await member.send("GET", f"/api/conversations/{place}/export?format=json")).body
        assert authors(json.loads(exported)["messages"]) == written
        text = (await member.send("GET", f"/api/conversations/{place}/export")).body.decode()
        headings = [line for line in text.splitlines() if line.startswith("## ")]
        assert headings == [
            "## member", "## member", "## System", "## manager", "## Agent", "## manager", "## Agent",
        ]  # fmt: skip


async def test_nobody_is_named_where_nobody_is_signed_in(database_url: str) -> None:
    async with serving(database_url) as client:
        anyone = Person(client, None)
        place = await anyone.conversation()
        await anyone.say(place, "hello")
        await (await anyone.ask(place, "why")).rest()
        assert authors(await anyone.messages(place)) == [None] * 3
        text = (await anyone.send("GET", f"/api/conversations/{place}/export")).body.decode()
        assert text.count("## User") == 2


# --- own messages -------------------------------------------------------------------------------------------


async def test_member_changes_only_what_they_wrote_and_managers_change_all(database_url: str) -> None:
    roles = ("member", "member", "manager", "reader")
    async with company(database_url, *roles) as (ann, bob, manager, reader):
        place = await ann.conversation()
        stream = await ann.ask(place, "first")
        await stream.rest()
        await bob.say(place, "of bob")
        await manager.say(place, "of the manager")
        await manager.say(place, "Be brief.", "system")
        own, answer, bobs, managers, system = await ann.messages(place)
        path = f"/api/conversations/{place}/messages"
        for person, refused in ((ann, (answer, bobs, managers, system)), (bob, (own, answer, managers, system))):
            for message in refused:
                one = f"{path}/{message['id']}"
                assert (await person.send("PUT", one, {"content": "forged"})).error == MANAGERS_ONLY
                assert (await person.send("DELETE", one)).error == MANAGERS_ONLY
        assert await ann.messages(place) == [own, answer, bobs, managers, system]
        for method, body in (("PUT", {"content": "x"}), ("DELETE", None)):
            assert (await reader.send(method, f"{path}/{own['id']}", body)).error == MEMBERS_ONLY
        # What does not exist is not found, whoever asks.
        other = await ann.conversation()
        for method, body in (("PUT", {"content": "x"}), ("DELETE", None)):
            for message_id in (place, bobs["id"]):
                unknown = f"/api/conversations/{other}/messages/{message_id}"
                assert (await ann.send(method, unknown, body)).error == (404, "Message not found")

        edited = await ann.ok("PUT", f"{path}/{own['id']}", {"content": "edited"})
        assert (edited["editedContent"], edited["author"]) == ("edited", own["author"])
        await ann.ok("DELETE", f"{path}/{own['id']}")
        assert [each["id"] for each in await ann.messages(place)] == [bobs["id"], managers["id"], system["id"]]
        for message in (bobs, managers, system):
            changed = await manager.ok("PUT", f"{path}/{message['id']}", {"content": "changed"})
            assert (changed["editedContent"], changed["author"]) == ("changed", message["author"])
            await manager.ok("DELETE", f"{path}/{message['id']}")
        assert await ann.messages(place) == []


async def test_person_has_several_tokens_of_one_name(database_url: str) -> None:
    async with company(database_url, "member") as (ann,):
        place = await ann.conversation()
        said = await ann.say(place, "x")
        again = Person(ann.client, make_token(database_url, COMPANY, name="member"))
        path = f"/api/conversations/{place}/messages/{said['id']}"
        assert (await again.ok("PUT", path, {"content": "y"}))["editedContent"] == "y"


async def test_what_was_written_before_anybody_signed_in_is_no_members(database_url: str) -> None:
    async with serving(database_url) as client:
        anyone = Person(client, None)
        place = await anyone.conversation()
        said = await anyone.say(place, "x")
    async with company(database_url, "member", "manager") as (member, manager):
        path = f"/api/conversations/{place}/messages/{said['id']}"
        assert (await member.send("DELETE", path)).error == MANAGERS_ONLY
        await manager.ok("DELETE", path)


async def test_only_managers_add_messages_of_other_roles(database_url: str) -> None:
    async with company(database_url, "member", "manager") as (member, manager):
        place = await member.conversation()
        path = f"/api/conversations/{place}/messages"
        for role in ("assistant", "system"):
            body = {"role": role, "content": "forged"}
            for key in ({}, {"Idempotency_Key": role}):
                assert (await member.send("POST", path, body, **key)).error == (403, "It takes the role manager")
            await manager.ok("POST", path, body)
        assert authors(await member.messages(place)) == ["manager", "manager"]


# --- readers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [{}, {"onDisconnect": "continue"}], ids=["cancel", "continue"])
async def test_reader_follows_what_others_began_and_starts_nothing(database_url: str, query: dict[str, str]) -> None:
    async with ModelServer() as model, company(database_url, "member", "reader", **model.settings) as (member, reader):
        place = await member.conversation()
        first, second = (await member.say(place, "x"))["id"], (await member.say(place, "?"))["id"]
        nothing = await reader.send("POST", f"/api/conversations/{place}/stream", {"content": "x"})
        assert nothing.error == MEMBERS_ONLY
        for when_busy in ("reject", "interrupt", "enqueue"):
            for trigger in (first, None):
                assert await reader.refusal(place, trigger, whenBusy=when_busy, **query) == MEMBERS_ONLY
        asked = await member.follow(place, first)
        call = await model.call()
        await call.send("part")
        assert (await asked.event())["content"] == "part"
        for when_busy in ("reject", "interrupt", "enqueue"):
            for known in ({}, {"last_id": "x"}, {"last_id": str(EventId(uuid4(), 1, 3, 5))}):
                asking = {"whenBusy": when_busy, **known, **query}
                assert await reader.refusal(place, second, **asking) == MEMBERS_ONLY
        joined = await reader.follow(place, first, **query)
        waiting = await member.follow(place, second, whenBusy="enqueue")
        queued = [await reader.follow(place, trigger, **query) for trigger in (second, None)]
        assert member.client.app.answers.askers() == set()
        await call.send(" whole")
        await call.finish()
        assert text_of(await joined.rest()) == "part whole"
        call = await model.call()
        await call.send("next")
        await call.finish()
        for stream in (waiting, *queued):
            assert text_of(await stream.rest()) == "next"
        # What is stored.
        assert text_of(await (await reader.follow(place, first, **query)).rest()) == "part whole"
        assert text_of(await (await reader.follow(place, **query)).rest()) == "next"
        # What was rewound would have to be generated anew.
        await member.ok("POST", f"/api/conversations/{place}/messages/{first}/rewind")
        assert await reader.refusal(place, first, **query) == MEMBERS_ONLY
        assert await reader.refusal(place, second, **query) == (404, "Message not found")
        assert model.calls == 2


async def test_answer_that_its_process_dropped_is_not_begun_anew_for_a_reader(database_url: str) -> None:
    async with ModelServer() as model, company(database_url, "member", "reader", **model.settings) as (member, reader):
        place = await member.conversation()
        trigger = (await member.say(place, "x"))["id"]
        execute(
            database_url,
            "INSERT INTO chat_runs (id, conversation_id, trigger_message_id, status, owner, epoch, lease_until,"
            " continues, started_at) VALUES (gen_random_uuid(), %s, %s, 'active', gen_random_uuid(), 1,"
            " now() + interval '1 hour', false, now())",
            place,
            trigger,
        )
        followed = await reader.follow(place, trigger)
        execute(database_url, "UPDATE chat_runs SET status = 'dropped', ended_at = now()")
        assert await followed.rest() == []
        await eventually(lambda: not list(reader.client.app.answers))
        assert followed.last_id is not None
        assert await reader.refusal(place, trigger, last_id=followed.last_id) == MEMBERS_ONLY
        assert model.calls == 0


async def test_answer_does_not_go_on_for_a_reader(database_url: str) -> None:
    async with (
        ModelServer() as model,
        company(database_url, "member", "reader", resume_grace_seconds=0, **model.settings) as (member, reader),
    ):
        place = await member.conversation()
        asked = await member.ask(place, "x")
        call = await model.call()
        await call.send("part")
        await asked.event()
        joined = await reader.follow(place, onDisconnect="continue")
        asked.leave()
        await joined.event()
        joined.leave()
        await call.closed()
        await eventually(lambda: not list(member.client.app.answers))
        assert len(await member.messages(place)) == 1


# --- on whose behalf ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_there", "elsewhere", "loss"),
    [
        (False, False, "revoked_at = now()"),
        (True, False, "revoked_at = now()"),
        (True, True, "expires_at = now()"),
        (False, False, "role = 'reader'"),
    ],
)
async def test_answer_that_continues_ends_with_the_rights_of_the_token_that_asked(
    database_url: str, is_there: bool, elsewhere: bool, loss: str
) -> None:
    async with (
        ModelServer() as model,
        company(database_url, "member", "member", **model.settings) as (ann, bob),
        company(database_url, "member", **model.settings) as (other,),
    ):
        place = await bob.conversation()
        asked = await bob.ask(place, "x")
        call = await model.call()
        await call.send("part")
        await asked.event()
        at = Person(other.client, ann.token) if elsewhere else ann
        continuing = await at.follow(place, onDisconnect="continue")
        owner, process = bob.client.app, at.client.app
        assert ann.token is not None
        await eventually(lambda: ann.token is not None and owner.answers.askers() == {ann.token.id})
        if not is_there:
            continuing.leave()
            await eventually(lambda: len(process.streams) == (0 if elsewhere else 1))
        asked.leave()
        await eventually(lambda: len(owner.streams) == (1 if is_there and not elsewhere else 0))
        await owner.context.watch.look()
        assert not call.is_closed()
        execute(database_url, f"UPDATE api_tokens SET {loss} WHERE id = %s", ann.token.id)
        for each in {owner, process}:
            await each.context.watch.look()
        await call.closed()
        await eventually(lambda: not list(owner.answers))
        assert len(await bob.messages(place)) == 1
