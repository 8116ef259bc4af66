"""Several processes on one database: one answer of a trigger, one queue of a conversation, one stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.conftest import DatabaseMaker
from tests.kit.event_stream import EventStream, text_of
from tests.kit.fleet import LONG_QUESTION, Fleet, fleet
from tests.kit.http_client import Client, stream_path
from tests.kit.waiting import PATIENCE_SECONDS, eventually

PROCESSES = 4
ROUNDS = 100


@pytest.fixture(scope="module")
def servers(make_database: DatabaseMaker) -> Iterator[Fleet]:
    with make_database() as url, fleet(url, PROCESSES) as started:
        yield started


@asynccontextmanager
async def clients_of(servers: Fleet) -> AsyncIterator[list[Client]]:
    clients = servers.clients()
    try:
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            yield clients
    finally:
        for client in clients:
            await client.close()


async def reading(client: Client, conversation: str, trigger: str, **query: str) -> EventStream:
    """A stream of which the first event was read."""
    stream = await client.stream(conversation, trigger, **query)
    assert (await stream.event())["type"] == "token"
    return stream


def order(servers: Fleet, conversation: str) -> list[str]:
    """The triggers of a conversation whose answers are stored or being generated, in the order of their runs."""
    query = """
        SELECT trigger_message_id::text FROM chat_runs WHERE conversation_id = %s AND status IN ('active', 'completed')
        ORDER BY started_at
    """
    return [str(row[0]) for row in servers.rows(query, conversation)]


def statuses(servers: Fleet, conversation: str) -> list[str]:
    query = "SELECT status FROM chat_runs WHERE conversation_id = %s ORDER BY started_at"
    return [str(row[0]) for row in servers.rows(query, conversation)]


async def test_two_processes_that_are_asked_at_once_show_one_answer(servers: Fleet) -> None:
    """Whatever the clients want if another answer comes first: their own does not."""

    async def play(clients: list[Client], number: int) -> None:
        conversation = await clients[0].conversation()
        when_busy = ("reject", "interrupt", "enqueue")[number % 3]
        trigger = await clients[number % 4].say(conversation, f"round {number}")
        streams = await asyncio.gather(
            *(
                client.stream(conversation, trigger, whenBusy=when_busy)
                for client in clients[number % 3 : number % 3 + 2]
            )
        )
        for stream in streams:
            events = await stream.rest()
            assert (text_of(events), events[-1]["type"]) == (f"Echo from agent: round {number}", "done")
        assert statuses(servers, conversation) == ["completed"]

    async with clients_of(servers) as clients:
        for number in range(0, ROUNDS, 5):
            await asyncio.gather(*(play(clients, number + each) for each in range(5)))


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_answer_that_nobody_reads_makes_way_for_another_process(servers: Fleet, method: str) -> None:
    async with clients_of(servers) as (one, other, third, _):
        conversation = await one.conversation()
        first, second = await one.say(conversation, LONG_QUESTION), await one.say(conversation, "y")

        async def ask() -> int:
            if method == "GET":
                return (await other.request("GET", stream_path(conversation, second))).status
            return (await other.request("POST", stream_path(conversation), {"content": "z"})).status

        stream = await reading(one, conversation, first)
        assert await ask() == 409
        elsewhere = await reading(third, conversation, first)
        stream.leave()
        assert await ask() == 409, "it is read at a third process"
        assert [message["content"] for message in await one.messages(conversation)] == [LONG_QUESTION, "y"]
        elsewhere.leave()
        followers = "SELECT count(*) FROM chat_followers JOIN chat_runs ON id = run_id WHERE conversation_id = %s"
        await eventually(lambda: servers.rows(followers, conversation) == [(0,)])
        assert await ask() == 200
        assert statuses(servers, conversation) == ["dropped", "completed"]


async def test_unread_answer_makes_way_for_a_rewind_at_another_process_and_a_read_one_does_not(servers: Fleet) -> None:
    async with clients_of(servers) as (one, other, *_):
        conversation = await one.conversation()
        trigger = await one.say(conversation, LONG_QUESTION)
        stream = await reading(one, conversation, trigger)
        rewind = f"/api/conversations/{conversation}/messages/{trigger}/rewind"
        assert (await other.request("POST", rewind)).status == 409
        stream.leave()
        assert await other.ok("POST", rewind) == {"superseded": 0}
        assert statuses(servers, conversation) == ["dropped"]


async def test_erased_question_waits_at_no_process_any_more(servers: Fleet) -> None:
    async with clients_of(servers) as (one, other, third, _):
        conversation = await one.conversation()
        first, second = await one.say(conversation, LONG_QUESTION), await one.say(conversation, "y")
        stream = await reading(one, conversation, first)
        waiting = await other.stream(conversation, second, whenBusy="enqueue")
        await waiting.opened()
        await third.ok("DELETE", f"/api/conversations/{conversation}/messages/{second}")
        assert await waiting.rest() == [{"type": "stopped", "messageId": None}]
        stream.leave()


async def test_answers_over_four_processes_have_their_turns_in_the_order_in_which_they_were_asked_for(
    servers: Fleet,
) -> None:
    async with clients_of(servers) as clients:
        conversation = await clients[0].conversation()
        first = await clients[0].say(conversation, LONG_QUESTION)
        triggers = [await clients[0].say(conversation, f"question {number}") for number in range(8)]
        await reading(clients[0], conversation, first)
        streams = []
        for number, trigger in enumerate(triggers):
            stream = await clients[(3 * number + 1) % PROCESSES].stream(conversation, trigger, whenBusy="enqueue")
            await stream.opened()
            streams.append(stream)
        # Two leave, and lose their places; one of them comes back. One is asked for at another process, too.
        for left in (2, 5):
            streams[left].leave()
        places = "SELECT count(*) FROM chat_queue WHERE conversation_id = %s"
        await eventually(lambda: servers.rows(places, conversation) == [(6,)])
        streams[2] = await clients[0].stream(conversation, triggers[2], whenBusy="enqueue")
        shared = await clients[2].stream(conversation, triggers[4])
        assert await clients[1].ok("POST", f"/api/conversations/{conversation}/stop") == {"stopped": True}
        for number in (0, 1, 3, 4, 6, 7, 2):
            events = await streams[number].rest()
            assert (text_of(events), events[-1]["type"]) == (f"Echo from agent: question {number}", "done")
        assert text_of(await shared.rest()) == "Echo from agent: question 4"
        assert order(servers, conversation) == [triggers[number] for number in (0, 1, 3, 4, 6, 7, 2)]
        await eventually(lambda: servers.rows(places, conversation) == [(0,)])


async def test_interrupting_clients_of_several_processes_come_next_and_stop_each_other(servers: Fleet) -> None:
    async with clients_of(servers) as clients:
        conversation = await clients[0].conversation()
        triggers = [await clients[0].say(conversation, LONG_QUESTION) for _ in range(2)]
        triggers += [await clients[0].say(conversation, f"question {number}") for number in range(2)]
        long, other_long, enqueued, newest = triggers
        first = await reading(clients[0], conversation, long)
        waiting = await clients[1].stream(conversation, enqueued, whenBusy="enqueue")
        await waiting.opened()
        second = await clients[2].stream(conversation, other_long, whenBusy="interrupt")
        assert (await first.rest())[-1] == {"type": "stopped", "messageId": None}
        assert (await second.event())["type"] == "token"
        third = await clients[3].stream(conversation, newest, whenBusy="interrupt")
        assert (await second.rest())[-1] == {"type": "stopped", "messageId": None}
        for stream, trigger in ((third, "question 1"), (waiting, "question 0")):
            assert text_of(await stream.rest()) == f"Echo from agent: {trigger}"
        assert order(servers, conversation) == [newest, enqueued]


@pytest.mark.parametrize("keep", [False, True])
async def test_stop_at_any_process_ends_the_answer(servers: Fleet, keep: bool) -> None:
    async with clients_of(servers) as (one, other, third, _):
        conversation = await one.conversation()
        trigger = await one.say(conversation, LONG_QUESTION)
        stream = await reading(one, conversation, trigger)
        far = await third.stream(conversation, trigger)
        stopping = await other.ok("POST", f"/api/conversations/{conversation}/stop", {"keep": keep})
        assert stopping == {"stopped": True}
        assert statuses(servers, conversation) == ["kept" if keep else "stopped"]
        ends = [(await each.rest())[-1] for each in (stream, far)]
        assert ends[0] == ends[1]
        assert (ends[0]["type"], ends[0]["messageId"] is not None) == ("stopped", keep)
