"""An answer while the database is away, and one that another process took over."""

from __future__ import annotations

import asyncio

import pytest

from chatserver.errors import ProviderError
from chatserver.ids import uuid7
from chatserver.live.leases import HEARTBEAT_SECONDS
from chatserver.live.run import Interrupt
from chatserver.live.store import LONGEST_RETRY_SECONDS, PERSIST_SECONDS
from tests.kit.memory_store import LEASE_SECONDS
from tests.kit.processes import (
    FIRST,
    STOP,
    Client,
    World,
    ended_runs,
    reader_of,
    run_of,
    world,
)
from tests.kit.virtual_time import in_virtual_time, now, quiet

pytestmark = pytest.mark.usefixtures("no_error_is_logged")


# --- the database is away ---------------------------------------------------------------------------------


@in_virtual_time
async def test_commit_is_repeated_until_the_database_is_back() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        w.database.away = True
        w.model.say(STOP)
        await asyncio.sleep(PERSIST_SECONDS - 5)
        client.read()
        assert client.ends == []
        w.database.away = False
        back = now()
        await client.rest()
        assert now() - back <= LONGEST_RETRY_SECONDS
        assert (client.end, w.database.answers()) == ("done", ["a"])


@in_virtual_time
async def test_history_is_read_when_the_database_is_back() -> None:
    async with world() as w:
        process = w.process()
        hold = process.store.hold("history")
        client = await reader_of(process)
        await hold.entered.wait()
        w.database.away = True
        hold.release()
        await asyncio.sleep(5)
        assert w.model.generations == 0
        w.database.away = False
        w.model.say("a", STOP)
        await client.rest()
        assert (client.text, client.end) == ("a", "done")


@pytest.mark.parametrize("keep", [False, True])
@in_virtual_time
async def test_commit_with_a_lost_confirmation_stores_one_answer(keep: bool) -> None:
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        process.store.lose["commit"] = 3
        w.model.say("a")
        await client.until_text("a")
        if keep:
            assert await run_of(client).stop(keep=True)
        else:
            w.model.say(STOP)
        await client.rest()
        assert process.store.visits["commit"] == 4
        assert (client.end, w.database.answers()) == ("stopped" if keep else "done", ["a"])
        again = Client()
        await again.open(process, FIRST)
        await again.rest()
        assert (again.text, again.ends, again.resets) == ("a", client.ends, 0)


@in_virtual_time
async def test_commit_that_fails_for_a_minute_is_an_error() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        w.database.away = True
        w.model.say(STOP)
        began = now()
        await client.rest()
        assert now() - began == pytest.approx(PERSIST_SECONDS, abs=2 * LONGEST_RETRY_SECONDS)
        assert (client.end, client.ends[0]["retryable"]) == ("unavailable", True)
        w.database.away = False
        assert w.database.answers() == []
        # its lease is not renewed any more: it is made anew when asked for after that
        await asyncio.sleep(LEASE_SECONDS)
        again = Client()
        await again.open(w.processes[0], FIRST)
        w.model.say("b", STOP)
        await again.rest()
        assert (again.text, again.end) == ("b", "done")


@in_virtual_time
async def test_end_is_written_when_the_database_is_back() -> None:
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        w.model.say("a")
        await client.until_text("a")
        w.database.away = True
        w.model.say(ProviderError("timeout", "Too slow"))
        await asyncio.sleep(5)
        w.database.away = False
        await client.rest()
        assert (client.end, w.database.statuses()) == ("timeout", ["failed"])


@in_virtual_time
async def test_end_that_cannot_be_written_is_sent_to_readers() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        w.database.away = True
        stopping = asyncio.ensure_future(run_of(client).stop(keep=False))
        await client.rest()
        assert await stopping
        assert client.end == "stopped"
        w.database.away = False


@in_virtual_time
async def test_defect_of_the_store_ends_the_answer_once(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        process.store.defects["commit"] = ValueError("a defect")
        w.model.say("a", STOP)
        await client.rest()
        assert (client.end, w.database.statuses()) == ("internal", ["failed"])
    caplog.clear()


# --- the fence --------------------------------------------------------------------------------------------


async def overtaken(w: World) -> tuple[Client, Client]:
    """A reader at a process that was frozen, and one at the process that took its run over meanwhile."""
    asleep, awake = w.process(), w.process()
    first, second = await reader_of(asleep), Client()
    w.model.say("old")
    await first.until_text("old")
    asleep.store.away = True
    await asyncio.sleep(LEASE_SECONDS + 1)
    opening = asyncio.ensure_future(second.open(awake, FIRST))
    await opening
    await quiet()
    return first, second


@in_virtual_time
async def test_owner_that_lost_its_run_follows_the_new_owner() -> None:
    async with world() as w:
        first, second = await overtaken(w)
        assert run_of(second).owned
        (row,) = w.database.rows.values()
        assert row.epoch == 2
        w.processes[0].store.away = False
        await asyncio.sleep(2)
        assert not run_of(first).owned
        # the old one waits in the model's queue no longer
        assert w.model.open == 1
        w.model.say("new", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert (first.text, first.end) == ("new", "done")
        assert first.resets > 0
        assert (second.text, second.resets, second.end) == ("new", 0, "done")
        assert first.ends == second.ends
        assert w.database.answers() == ["new"]
        assert ended_runs(w.processes[0]) == {}


@in_virtual_time
async def test_owner_that_lost_its_run_commits_nothing() -> None:
    async with world() as w:
        first, second = await overtaken(w)
        # the first of the two generations is the old owner's; it comes to its end before a renewal tells it
        w.model.say(" end", STOP)
        await quiet()
        w.processes[0].store.away = False
        w.model.say("new", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert w.database.answers() == ["new"]
        assert (first.text, second.text, first.end, second.end) == ("new", "new", "done", "done")
        assert first.ends == second.ends


@in_virtual_time
async def test_reader_that_comes_right_after_the_loss_joins_at_once() -> None:
    """A reader need not wait until the model's connection is closed, and a stop has to go to the new owner."""
    async with world() as w:
        first, second = await overtaken(w)
        run = run_of(first)
        w.model.closing_seconds = 1.0
        run.interrupt(Interrupt.LOST)
        assert not run.owned
        came = now()
        third = await reader_of(w.processes[0])
        assert (run_of(third), now() - came < 0.1) == (run, True)
        w.model.closing_seconds = 0.0
        await asyncio.sleep(1.5)
        w.model.say("new", STOP)
        w.processes[0].store.away = False
        await asyncio.gather(first.rest(), second.rest(), third.rest())
        assert first.text == second.text == third.text == "new"


@pytest.mark.parametrize("keep", [False, True])
@in_virtual_time
async def test_stop_of_a_lost_run_reaches_only_the_readers_here(keep: bool) -> None:
    async with world() as w:
        first, second = await overtaken(w)
        run_of(first).interrupt(Interrupt.LOST)
        await quiet()
        assert not await run_of(first).stop(keep=keep)
        await first.rest()
        assert first.ends == [{"type": "stopped", "messageId": None}]
        w.model.say("new", STOP)
        await second.rest()
        assert (second.text, second.end, w.database.answers()) == ("new", "done", ["new"])


@in_virtual_time
async def test_readers_of_other_processes_keep_the_answer_going() -> None:
    async with world(grace_seconds=0) as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        run = run_of(client)
        (row,) = w.database.rows.values()
        row.followers[uuid7()] = now() + 5
        await asyncio.sleep(HEARTBEAT_SECONDS + 0.1)
        client.leave()
        w.model.say("b")
        await quiet()
        assert (run.wanted, run.journal.text) == (True, "ab")
        await run.wait_settled()
        assert now() == pytest.approx(5, abs=HEARTBEAT_SECONDS + 0.1)
        assert w.database.statuses() == ["dropped"]


@in_virtual_time
async def test_owner_that_begins_anew_resets_followers_once() -> None:
    """A moment without the database causes no further reset."""
    async with world() as w:
        owner, follower = w.process(), w.process()
        first, second = await reader_of(owner), await reader_of(follower)
        assert not run_of(second).owned
        await asyncio.sleep(1)
        (row,) = w.database.rows.values()
        row.epoch = 2
        await asyncio.sleep(1)
        second.read()
        assert second.resets == 1
        follower.store.away = True
        await asyncio.sleep(2)
        follower.store.away = False
        await asyncio.sleep(1)
        second.read()
        assert second.resets == 1
        assert run_of(second).journal.epoch == 2
        row.epoch = 1
        w.model.say("a", STOP)
        await asyncio.gather(first.rest(), second.rest())
