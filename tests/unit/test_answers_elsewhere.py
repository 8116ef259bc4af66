"""Readers at another process get each event of an answer, under the id that it has at its owner."""

from __future__ import annotations

import asyncio
import logging

import pytest

from chatserver.errors import ProviderError
from chatserver.live import sharing
from chatserver.live.following import INTEREST_SECONDS, POLL_SECONDS
from chatserver.live.leases import HEARTBEAT_SECONDS
from chatserver.live.sharing import RETRY_SECONDS, SHARE_SECONDS
from chatserver.providers.base import ReasoningDelta, TextDelta
from tests.kit.processes import ELSEWHERE, FIRST, SECOND, STOP, Client, World, clients, run_of, world
from tests.kit.virtual_time import in_virtual_time, now, quiet

pytestmark = pytest.mark.usefixtures("no_error_is_logged")


async def owner_and_follower(w: World) -> tuple[Client, Client]:
    """A client at the owner of the first answer, and one at a process that follows it; the owner knows of it."""
    owner, follower = w.process(), w.process()
    (first,) = await clients(owner, FIRST)
    (second,) = await clients(follower, FIRST)
    await asyncio.sleep(HEARTBEAT_SECONDS)
    return first, second


@in_virtual_time
async def test_each_event_comes_to_other_processes_soon_and_under_its_own_id() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        text = ""
        for piece in ("a", "é😀", "\n"):
            text += piece
            said_at = now()
            w.model.say(piece)
            await asyncio.gather(first.until_text(text), second.until_text(text))
            assert now() - said_at <= 2 * SHARE_SECONDS
            assert second.last_id == first.last_id
        w.model.say(ReasoningDelta("hm"), "b")
        await asyncio.gather(first.until_text(text + "b"), second.until_text(text + "b"))
        assert (second.last_id, second.thoughts) == (first.last_id, "hm")
        ended_at = now()
        w.model.say(STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert now() - ended_at <= 2 * SHARE_SECONDS
        assert (second.text, second.ends, second.resets) == (first.text, first.ends, 0)
        assert w.model.generations == 1


@in_virtual_time
async def test_whoever_comes_late_to_another_process_gets_what_was_said_before() -> None:
    async with world() as w:
        (first,) = await clients(w.process(), FIRST)
        for piece in "abc":
            w.model.say(piece)
        await first.until_text("abc")
        for number in range(2):
            (late,) = await clients(w.process(), FIRST)
            await asyncio.sleep(HEARTBEAT_SECONDS + POLL_SECONDS)
            late.read()
            assert (late.text, late.last_id) == ("abc" + "d" * number, first.last_id)
            w.model.say("d")
            await asyncio.gather(first.until_text("abcd" + "d" * number), late.until_text("abcd" + "d" * number))
            late.leave()
        w.model.say(STOP)
        await first.rest()


@in_virtual_time
async def test_many_events_that_come_from_another_process_at_once_do_not_hold_up_the_loop() -> None:
    text = "x" * 4 * sharing.ROW_CHARS
    async with world(max_answer_chars=len(text)) as w:
        (first,) = await clients(w.process(), FIRST)
        w.model.say([TextDelta(each) for each in text])
        await first.until_text(text)
        (late,) = await clients(w.process(), FIRST)
        await late.until(lambda: late.text != "")
        assert len(late.text) < len(text)  # there was a turn for others
        w.model.say(STOP)
        await asyncio.gather(first.rest(), late.rest())


@in_virtual_time
async def test_client_goes_on_at_any_process_after_any_event() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        moving = [Client() for _ in range(6)]
        for at, client in enumerate(moving):
            w.model.say(f"{at},")
            await first.until(lambda at=at: first.text.endswith(f"{at},"))
            await second.until_text(first.text)
            await client.open(w.processes[at % 2], FIRST)
            for step in range(3):
                w.model.say(f"{at}.{step},")
                await first.until(lambda at=at, step=step: first.text.endswith(f"{at}.{step},"))
                await client.until_text(first.text)
                client.leave()
                await client.open(w.processes[(at + step + 1) % 2], FIRST)
        w.model.say("end", STOP)
        await asyncio.gather(first.rest(), second.rest(), *(client.rest() for client in moving))
        for client in (second, *moving):
            assert (client.text, client.ends, client.resets) == (first.text, first.ends, 0)


@in_virtual_time
async def test_client_that_was_reset_at_a_follower_goes_on_at_the_owner_from_the_first_token() -> None:
    """The reset led to where the answer begins, not behind its first event."""
    async with world() as w:
        owner, follower = w.process(), w.process()
        first, queued = await clients(owner, FIRST, SECOND)
        (elsewhere,) = await clients(follower, SECOND)
        w.model.say("1", STOP)
        await first.rest()
        await elsewhere.until(lambda: elsewhere.resets == 1)
        elsewhere.leave()
        w.model.say("from ", "agent")
        await queued.until_text("from agent")
        await elsewhere.open(owner, SECOND)
        w.model.say(STOP)
        await asyncio.gather(queued.rest(), elsewhere.rest())
        assert elsewhere.text == "from agent"


@in_virtual_time
async def test_nothing_is_shared_while_nobody_follows() -> None:
    async with world() as w:
        owner, other = w.process(), w.process()
        (first,) = await clients(owner, FIRST)
        w.model.say("a", "b")
        await first.until_text("ab")
        await asyncio.sleep(10)
        (second,) = await clients(other, FIRST)
        await asyncio.sleep(HEARTBEAT_SECONDS + POLL_SECONDS)
        shared = owner.store.visits["share"]
        second.leave()
        await asyncio.sleep(HEARTBEAT_SECONDS + POLL_SECONDS)
        w.model.say("c", STOP)
        await first.rest()
        await asyncio.sleep(10)
        assert shared > 0
        assert (owner.store.visits["share"], other.store.visits["share"]) == (shared, 0)


@in_virtual_time
async def test_events_of_all_answers_are_shared_together_and_not_too_often() -> None:
    async with world(max_answer_chars=1_000) as w:
        owner, follower = w.process(), w.process()
        asked = [FIRST, ELSEWHERE]
        here, there = await clients(owner, *asked), await clients(follower, *asked)
        await asyncio.sleep(HEARTBEAT_SECONDS)
        before, began = owner.store.visits["share"], now()
        looks = follower.store.visits["look"]
        for _ in range(40):
            w.model.say("ab", "cd")
            await asyncio.sleep(0.005)
        await asyncio.gather(
            *(client.until_text(run_of(mine).journal.text) for mine, client in zip(here, there, strict=True))
        )
        writes = (now() - began) / SHARE_SECONDS + 2
        assert 2 < owner.store.visits["share"] - before <= writes
        assert follower.store.visits["look"] - looks <= writes
        w.model.say(STOP, STOP)
        await asyncio.gather(*(client.rest() for client in (*here, *there)))


@in_virtual_time
async def test_everything_comes_later_if_hints_get_lost() -> None:
    async with world() as w:
        w.database.hints_get_lost = True
        first, second = await owner_and_follower(w)
        w.model.say("abc")
        await asyncio.sleep(POLL_SECONDS + SHARE_SECONDS)
        second.read()
        assert second.text == "abc"
        w.model.say(STOP)
        await first.rest()
        await asyncio.sleep(POLL_SECONDS + SHARE_SECONDS)
        second.read()
        assert second.ends == first.ends


@in_virtual_time
async def test_what_the_database_loses_is_written_again() -> None:
    """A crash of PostgreSQL empties the table, whether something was being written or not."""
    async with world() as w:
        first, second = await owner_and_follower(w)
        w.model.say("a", "b")
        await second.until_text("ab")
        w.database.frames.clear()
        (late,) = await clients(w.process(), FIRST)
        w.model.say("c")
        await asyncio.gather(second.until_text("abc"), late.until_text("abc"))
        w.database.away = True
        w.model.say("d")
        await asyncio.sleep(1)
        w.database.frames.clear()
        w.database.away = False
        await asyncio.gather(second.until_text("abcd"), late.until_text("abcd"))
        w.model.say(STOP)
        await asyncio.gather(*(client.rest() for client in (first, second, late)))
        assert (second.resets, late.resets) == (0, 0)


@in_virtual_time
async def test_write_that_may_have_failed_is_done_again() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        w.processes[0].store.lose["share"] = 1
        w.model.say("a")
        await first.until_text("a")
        w.model.say("b")
        await second.until_text("ab")
        assert now() <= HEARTBEAT_SECONDS + 2 * RETRY_SECONDS
        w.model.say(STOP)
        await asyncio.gather(first.rest(), second.rest())


@in_virtual_time
async def test_defects_of_sharing_and_following_delay_what_they_hit(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        w.processes[0].store.defects["share"] = RuntimeError("a defect")
        w.processes[1].store.defects["look"] = RuntimeError("a defect")
        w.model.say("a", "b")
        await second.until_text("ab")
        w.model.say(STOP)
        await asyncio.gather(first.rest(), second.rest())
    assert sum(record.levelno >= logging.ERROR for record in caplog.records) == 2
    caplog.clear()


@in_virtual_time
async def test_answer_that_is_begun_anew_is_shown_anew_everywhere() -> None:
    """The model hung up while nobody was reading."""
    async with world() as w:
        first, second = await owner_and_follower(w)
        w.model.say("abc")
        await second.until_text("abc")
        first.leave()
        second.leave()
        await asyncio.sleep(HEARTBEAT_SECONDS + POLL_SECONDS)
        w.model.say(ProviderError("interrupted", "The model hung up"))
        await quiet()
        await second.open(w.processes[1], FIRST)
        await first.open(w.processes[0], FIRST)
        w.model.say("xy")
        await asyncio.gather(first.until_text("xy"), second.until_text("xy"))
        assert (second.last_id, second.resets) == (first.last_id, 1)
        w.model.say("z", STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert second.text == "xyz"


@in_virtual_time
async def test_long_answer_comes_in_several_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "ROW_CHARS", 5)
    monkeypatch.setattr(sharing, "WRITE_CHARS", 12)
    monkeypatch.setattr(sharing, "ROWS_AT_ONCE", 2)
    async with world(max_answer_chars=1_000) as w:
        first, second = await owner_and_follower(w)
        pieces = [f"{number:04}" for number in range(30)]
        w.model.say(*pieces)
        await second.until_text("".join(pieces))
        assert second.last_id == first.last_id or first.text != second.text
        w.model.say(STOP)
        await asyncio.gather(first.rest(), second.rest())
        assert second.text == first.text


@pytest.mark.parametrize("followed", [True, False])
@in_virtual_time
async def test_end_is_not_written_while_events_are_on_their_way(followed: bool) -> None:
    """They would stay in the database when the answer is gone."""
    async with world() as w:
        first, second = await owner_and_follower(w)
        hold = w.processes[0].store.hold("share")
        w.model.say("a")
        await hold.entered.wait()
        if not followed:
            second.leave()
            await asyncio.sleep(HEARTBEAT_SECONDS + POLL_SECONDS)
        w.model.say(STOP)
        await asyncio.sleep(5)
        assert w.processes[0].store.visits["commit"] == 0
        hold.release()
        await asyncio.gather(*(client.rest() for client in ((first, second) if followed else (first,))))
        assert first.text == "a"


@in_virtual_time
async def test_owners_are_told_of_readers_that_stay() -> None:
    async with world(grace_seconds=0) as w:
        first, second = await owner_and_follower(w)
        first.leave()
        told = w.processes[1].store.visits["follow"]
        await asyncio.sleep(20)
        assert w.processes[1].store.visits["follow"] - told >= 20 / INTEREST_SECONDS - 1
        w.model.say("a", STOP)
        await second.rest()


@in_virtual_time
async def test_taken_over_answer_is_shared_by_its_new_owner() -> None:
    async with world() as w:
        first, second = await owner_and_follower(w)
        (third,) = await clients(w.process(), FIRST)
        w.model.say("old")
        await asyncio.gather(second.until_text("old"), third.until_text("old"))
        first.leave()
        await w.processes[0].die()
        await asyncio.gather(second.until(lambda: second.resets == 1), third.until(lambda: third.resets == 1))
        w.model.say("new")
        await asyncio.gather(second.until_text("new"), third.until_text("new"))
        assert second.last_id == third.last_id
        w.model.say(STOP)
        await asyncio.gather(second.rest(), third.rest())
        assert w.database.answers() == ["new"]
