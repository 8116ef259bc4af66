"""The answers of a process that dies, and of one that ends in order."""

from __future__ import annotations

import asyncio
import logging

import pytest

from chatserver.errors import UnavailableError
from chatserver.live.leases import HAND_OVER_SECONDS, SWEEP_SECONDS
from tests.kit.memory_store import LEASE_SECONDS
from tests.kit.processes import (
    ELSEWHERE,
    FIRST,
    SECOND,
    STOP,
    Client,
    clients,
    world,
)
from tests.kit.virtual_time import in_virtual_time, now, quiet

pytestmark = pytest.mark.usefixtures("no_error_is_logged")


# --- runs that continue -----------------------------------------------------------------------------------


@in_virtual_time
async def test_continuing_run_of_a_dead_process_is_adopted() -> None:
    async with world() as w:
        dying, living = w.process(), w.process()
        living.start()
        client = Client()
        await client.open(dying, FIRST, continues=True)
        client.leave()
        await dying.die()
        w.model.say("a", STOP)
        await asyncio.sleep(LEASE_SECONDS + SWEEP_SECONDS + 1)
        assert (w.database.answers(), w.database.statuses()) == (["a"], ["completed"])
        await client.open(living, FIRST)
        await client.rest()
        assert (client.text, client.resets) == ("a", 1)


@in_virtual_time
async def test_run_that_is_followed_here_is_not_adopted() -> None:
    async with world() as w:
        dying, living = w.process(), w.process()
        first, second = Client(), Client()
        await first.open(dying, FIRST, continues=True)
        await second.open(living, FIRST)
        hold = living.store.hold("look")
        await hold.entered.wait()
        first.leave()
        await dying.die()
        await asyncio.sleep(LEASE_SECONDS + 2 * SWEEP_SECONDS)
        assert living.keys() == [FIRST]
        hold.release()
        w.model.say("a", STOP)
        await second.rest()
        assert (second.text, second.end) == ("a", "done")


@pytest.mark.parametrize("why", ["draining", "full"])
@in_virtual_time
async def test_process_that_begins_no_runs_adopts_none(why: str) -> None:
    async with world() as w:
        dying, living = w.process(), w.process(max_runs=0 if why == "full" else 1)
        living.start()
        living.answers.draining = why == "draining"
        client = Client()
        await client.open(dying, FIRST, continues=True)
        client.leave()
        await dying.die()
        await asyncio.sleep(LEASE_SECONDS + 3 * SWEEP_SECONDS)
        assert (living.keys(), w.model.generations) == ([], 0)


@in_virtual_time
async def test_run_that_cannot_be_adopted_does_not_end_the_sweep(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with world() as w:
        dying, living = w.process(), w.process()
        living.start()
        client = Client()
        await client.open(dying, FIRST, continues=True)
        client.leave()
        await dying.die()
        w.database.refusal = UnavailableError("The provider of this agent is not configured")
        await asyncio.sleep(LEASE_SECONDS + 2 * SWEEP_SECONDS)
        assert "not configured" in caplog.text
        w.database.refusal = None
        w.model.say("a", STOP)
        await asyncio.sleep(2 * SWEEP_SECONDS)
        assert w.database.answers() == ["a"]


@in_virtual_time
async def test_finish_continuing_waits_only_for_continuing_runs() -> None:
    async with world() as w:
        process = w.process()
        continuing, reading = Client(), Client()
        await continuing.open(process, FIRST, continues=True)
        await reading.open(process, ELSEWHERE)
        continuing.leave()
        finishing = asyncio.ensure_future(process.answers.finish_continuing())
        await asyncio.sleep(5)
        assert not finishing.done()
        w.model.say("a", STOP)
        await finishing
        assert w.database.answers() == ["a"]
        assert process.keys() == [ELSEWHERE]
        await process.answers.finish_continuing()


@in_virtual_time
async def test_continuing_run_of_a_dead_process_keeps_its_place() -> None:
    async with world() as w:
        dying, living = w.process(), w.process()
        client = Client()
        await client.open(dying, FIRST, continues=True)
        client.leave()
        await dying.die()
        (second,) = await clients(living, SECOND)
        w.model.say("a", STOP, "b", STOP)
        await second.rest()
        assert (second.text, w.database.answers(), w.database.statuses()) == ("b", ["a", "b"], ["completed"] * 2)


@in_virtual_time
async def test_requested_stop_outlives_the_owner() -> None:
    async with world() as w:
        dying, living = w.process(), w.process()
        first, second = Client(), Client()
        await first.open(dying, FIRST, continues=True)
        await second.open(living, FIRST)
        first.leave()
        await dying.die()
        (row,) = w.database.rows.values()
        row.stop_requested = "keep"
        await second.rest()
        assert (second.end, w.database.statuses()) == ("stopped", ["stopped"])


# --- the end of a process ---------------------------------------------------------------------------------


@in_virtual_time
async def test_close_hands_over_all_runs_and_is_idempotent() -> None:
    async with world() as w:
        process = w.process()
        reading, waiting, continuing = Client(), Client(), Client()
        await reading.open(process, FIRST)
        await waiting.open(process, SECOND)
        await continuing.open(process, ELSEWHERE, continues=True)
        w.model.say("a", "b")
        await quiet()
        await asyncio.gather(process.answers.close(), process.answers.close())
        await process.answers.close()
        assert (process.keys(), w.model.open) == ([], 0)
        dropped, released = w.database.rows.values()
        assert (dropped.status, released.status) == ("dropped", "active")
        assert released.lease_until <= now()
        for client in (reading, waiting, continuing):
            client.read()
            assert client.ends == [], "they come back, and it goes on elsewhere"
            client.leave()
        other = w.process()
        w.model.say("new", STOP)
        await continuing.open(other, ELSEWHERE)
        await continuing.rest()
        assert (continuing.text, continuing.resets) == ("new", 1)


@in_virtual_time
async def test_close_waits_for_a_commit() -> None:
    async with world() as w:
        process = w.process()
        hold = process.store.hold("commit")
        (client,) = await clients(process, FIRST)
        w.model.say("a", STOP)
        await hold.entered.wait()
        closing = asyncio.ensure_future(process.answers.close())
        await quiet()
        assert not closing.done()
        hold.release()
        await closing
        assert w.database.answers() == ["a"]
        client.read()
        assert client.end == "done"


@pytest.mark.parametrize("continues", [False, True])
@in_virtual_time
async def test_close_does_not_wait_for_a_database_that_is_away(continues: bool) -> None:
    async with world() as w:
        process = w.process()
        client = Client()
        await client.open(process, FIRST, continues=continues)
        w.model.say("a")
        await client.until_text("a")
        w.database.away = True
        began = now()
        await process.answers.close()
        assert now() - began < 1
        assert (w.model.open, process.keys()) == (0, [])
        client.read()
        assert client.ends == []
        w.database.away = False


@in_virtual_time
async def test_close_gives_up_a_commit_that_waits_for_the_database() -> None:
    """No error is told: the lease expires, and its readers find the answer at another process."""
    async with world() as w:
        process = w.process()
        (client,) = await clients(process, FIRST)
        w.model.say("a")
        await client.until_text("a")
        w.database.away = True
        w.model.say(STOP)
        await asyncio.sleep(5)
        began = now()
        await process.answers.close()
        assert now() - began < 1
        client.read()
        assert (process.keys(), client.ends) == ([], [])
        w.database.away = False


@in_virtual_time
async def test_close_leaves_a_commit_that_hangs() -> None:
    async with world() as w:
        process = w.process()
        hold = process.store.hold("commit")
        await clients(process, FIRST)
        w.model.say("a", STOP)
        await hold.entered.wait()
        began = now()
        await process.answers.close()
        assert now() - began == pytest.approx(HAND_OVER_SECONDS)
        assert process.keys() == []
        hold.release()


@in_virtual_time
async def test_close_before_start_leaves_nothing_to_start() -> None:
    async with world() as w:
        process = w.process()
        await process.answers.close()
        process.start()
        await process.answers.close()
        assert not process.answers.accepts_runs


@in_virtual_time
async def test_run_that_is_added_while_closing_is_handed_over() -> None:
    async with world() as w:
        process = w.process()
        (client,) = await clients(process, FIRST)
        w.model.say("a")
        await client.until_text("a")
        w.model.closing_seconds = 2.0
        late, hold = Client(), process.store.hold("open")
        opening = asyncio.ensure_future(late.open(process, ELSEWHERE))
        await hold.entered.wait()
        closing = asyncio.ensure_future(process.answers.close())
        await asyncio.sleep(1)
        hold.release()
        await opening
        assert process.keys() == [FIRST, ELSEWHERE]
        await closing
        assert (process.keys(), w.database.statuses()) == ([], ["dropped", "dropped"])
        late.leave()
