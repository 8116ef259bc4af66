"""A model that hangs up while nobody reads is asked again; that is no error."""

from __future__ import annotations

import asyncio

import pytest

from chatserver.errors import ErrorCode, ProviderError
from chatserver.live.run import RESTARTS
from chatserver.providers.base import ReasoningDelta
from tests.kit.processes import (
    FIRST,
    GRACE_SECONDS,
    STOP,
    Client,
    reader_of,
    run_of,
    world,
)
from tests.kit.virtual_time import in_virtual_time, now, quiet

pytestmark = pytest.mark.usefixtures("no_error_is_logged")


def hang_up() -> ProviderError:
    return ProviderError("interrupted", "The model broke off its answer")


@pytest.mark.parametrize("code", ["interrupted", "unavailable", "timeout"])
@in_virtual_time
async def test_hang_up_in_a_pause_begins_the_answer_anew(code: ErrorCode) -> None:
    async with world() as w:
        client = await reader_of(w.process())
        other = Client()
        w.model.say(ReasoningDelta("old"), "old ")
        await client.until_text("old ")
        client.leave()
        await quiet()
        w.model.say(ProviderError(code, "gone"))
        await asyncio.sleep(GRACE_SECONDS / 2)
        assert (w.model.generations, w.model.open) == (1, 0), "it is asked anew only when somebody reads"
        await client.open(w.processes[0], FIRST)
        await other.open(w.processes[0], FIRST)
        w.model.say("new", STOP)
        await asyncio.gather(client.rest(), other.rest())
        assert (client.text, client.resets, client.end) == ("new", 1, "done")
        assert (other.text, other.end) == ("new", "done")
        (row,) = w.database.rows.values()
        assert (row.epoch, row.status) == (2, "completed")
        assert row.answer is not None
        assert (row.answer.new.duration_ms, row.answer.new.reasoning) == (0, None), "those of the new try"
        resumed = Client()
        resumed.source.last_event_id = str(client.last_id).replace(".end", ".3.2")
        resumed.text = "ne"
        await resumed.open(w.processes[0], FIRST)
        await resumed.rest()
        assert (resumed.text, resumed.resets) == ("new", 0)


@in_virtual_time
async def test_hang_up_in_a_pause_after_a_held_token_begins_the_answer_anew() -> None:
    """The model tells that it had hung up by the end of the pause; the run cannot know."""
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("old")
        await client.until_text("old")
        client.leave()
        await quiet()
        w.model.say(" held", " too", ProviderError("interrupted", "gone", in_pause=True))
        await quiet()
        await client.open(w.processes[0], FIRST)
        w.model.say("new", STOP)
        await client.rest()
        assert (client.text, client.resets, client.end, w.model.generations) == ("new", 1, "done", 2)


@in_virtual_time
async def test_model_is_told_of_pauses_only() -> None:
    """What it pushes while nobody reads is held back. A pause in which it pushes nothing is none for it."""
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a", "b")
        await client.until_text("ab")
        client.leave()
        await client.open(w.processes[0], FIRST)
        w.model.say("c")
        await client.until_text("abc")
        client.leave()
        await quiet()
        w.model.say("d")
        await quiet()
        await client.open(w.processes[0], FIRST)
        w.model.say("e", STOP)
        await client.rest()
        assert w.model.told == [None, None, None, True, None]


@in_virtual_time
async def test_hang_up_in_a_pause_that_nobody_ends_is_dropped() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("old")
        await client.until_text("old")
        client.leave()
        await quiet()
        w.model.say(hang_up())
        await run_of(client).wait_settled()
        assert (now(), w.model.generations) == (pytest.approx(GRACE_SECONDS, abs=0.1), 1)
        assert [(row.status, row.epoch) for row in w.database.rows.values()] == [("dropped", 1)]


@in_virtual_time
async def test_model_that_always_hangs_up_in_pauses_is_an_error_at_last() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        for attempt in range(RESTARTS + 1):
            w.model.say(f"try {attempt}")
            await client.until_text(f"try {attempt}")
            client.leave()
            await quiet()
            w.model.say(hang_up())
            await quiet()
            await client.open(w.processes[0], FIRST)
        await client.rest()
        assert (client.end, w.model.generations) == ("interrupted", RESTARTS + 1)


@in_virtual_time
async def test_hang_up_while_somebody_reads_is_an_error() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        client.leave()
        await client.open(w.processes[0], FIRST)
        w.model.say("b")
        await client.until_text("ab")
        w.model.say(hang_up())
        await client.rest()
        assert (client.end, w.database.answers(), w.model.generations) == ("interrupted", [], 1)


@in_virtual_time
async def test_other_errors_in_a_pause_are_errors() -> None:
    async with world() as w:
        client = await reader_of(w.process())
        w.model.say("a")
        await client.until_text("a")
        client.leave()
        await quiet()
        w.model.say(ProviderError("unauthorized", "The key is refused"))
        await client.open(w.processes[0], FIRST)
        await client.rest()
        assert client.end == "unauthorized"


@pytest.mark.parametrize("how", ["away", "the confirmation is lost"])
@in_virtual_time
async def test_new_try_waits_for_the_database(how: str) -> None:
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        w.model.say("old")
        await client.until_text("old")
        client.leave()
        await quiet()
        w.model.say(hang_up())
        await quiet()
        if how == "away":
            w.database.away = True
            asyncio.get_running_loop().call_later(5, lambda: setattr(w.database, "away", False))
        else:
            process.store.lose["next_epoch"] = 1
        await client.open(process, FIRST)
        w.model.say("new", STOP)
        await client.rest()
        assert now() < 8
        assert (client.text, client.end, w.database.answers()) == ("new", "done", ["new"])


@pytest.mark.parametrize("how", ["leave", "stop"])
@in_virtual_time
async def test_stop_during_a_new_try_is_written(how: str) -> None:
    """In the new epoch: otherwise the conversation would be busy until the lease expires."""
    async with world() as w:
        process = w.process()
        client = await reader_of(process)
        w.model.say("old")
        await client.until_text("old")
        client.leave()
        await quiet()
        w.model.say(hang_up())
        hold = process.store.hold("next_epoch")
        await client.open(process, FIRST)
        await hold.entered.wait()
        if how == "leave":
            client.leave()
            await asyncio.sleep(2 * GRACE_SECONDS)
            hold.release()
            await run_of(client).wait_settled()
        else:
            stopping = asyncio.ensure_future(run_of(client).stop(keep=False))
            await quiet()
            hold.release()
            assert await stopping
            await client.rest()
            assert client.end == "stopped"
        assert w.database.statuses() == ["dropped" if how == "leave" else "stopped"]
        assert w.model.generations == 1
