"""Answers go on without readers on behalf of those who still have access; those who only read begin none."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from chatserver.errors import ForbiddenError
from chatserver.live.demand import FORSAKEN_SECONDS
from chatserver.live.leases import HEARTBEAT_SECONDS, SWEEP_SECONDS
from chatserver.live.options import StreamOptions
from tests.kit.memory_store import LEASE_SECONDS
from tests.kit.processes import (
    CONVERSATION,
    ELSEWHERE,
    FIRST,
    GRACE_SECONDS,
    SECOND,
    STOP,
    THIRD,
    Client,
    Process,
    World,
    clients,
    ended_runs,
    run_of,
    world,
)
from tests.kit.virtual_time import in_virtual_time, now, quiet

pytestmark = pytest.mark.usefixtures("no_error_is_logged")

ANN, BOB = UUID(int=501), UUID(int=502)


async def asking(process: Process, key: object, token: UUID | None) -> Client:
    """A client that asks for an answer that continues."""
    client = Client()
    await client.open(process, key, continues=True, asked_by=token)  # type: ignore[arg-type]
    await quiet()
    return client


def lose(w: World, *tokens: UUID) -> None:
    """These tokens lose access, and each process notices."""
    w.database.revoked.update(tokens)
    for process in w.processes:
        process.answers.forsake(tokens)


# --- on whose behalf ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_askers_are_those_of_generated_followed_and_queued_answers() -> None:
    async with world() as w:
        here, there = w.process(), w.process()
        opened = [await asking(here, FIRST, ANN), await asking(here, SECOND, BOB), await asking(here, ELSEWHERE, None)]
        opened += await clients(here, THIRD)
        assert here.answers.askers() == {ANN, BOB}
        opened.append(await asking(there, FIRST, BOB))
        assert there.answers.askers() == {BOB}
        await asyncio.sleep(HEARTBEAT_SECONDS + 0.1)
        assert run_of(opened[0]).askers == {ANN, BOB}
        for client in opened:
            client.leave()


@pytest.mark.parametrize("queued", [False, True])
@in_virtual_time
async def test_answer_without_readers_ends_at_once_with_the_access_of_the_last_asker(queued: bool) -> None:
    async with world() as w:
        process = w.process()
        if queued:
            (first,) = await clients(process, THIRD)
        client = await asking(process, FIRST, ANN)
        client.leave()
        again = await asking(process, FIRST, BOB)
        again.leave()
        lose(w, BOB)
        await asyncio.sleep(2 * GRACE_SECONDS)
        assert process.answers.askers() == {ANN}
        before = now()
        lose(w, ANN)
        await run_of(client).wait_settled()
        assert now() == before
        assert (process.find(FIRST), process.answers.askers()) == (None, set())
        assert w.model.open == queued
        if queued:
            first.leave()
        else:
            assert w.database.statuses() == ["dropped"]


@in_virtual_time
async def test_answer_with_readers_goes_on_as_any_other_once_its_askers_lost_access() -> None:
    async with world() as w:
        process = w.process()
        client = await asking(process, FIRST, ANN)
        (reader,) = await clients(process, FIRST)
        client.leave()
        lose(w, ANN)
        w.model.say("a")
        await reader.until_text("a")
        # The row still says that it continues: no renewal brings that back.
        await asyncio.sleep(FORSAKEN_SECONDS + HEARTBEAT_SECONDS)
        assert w.database.statuses() == ["active"]
        assert process.answers.askers() == set()
        reader.leave()
        w.model.say("b", STOP)
        await asyncio.sleep(GRACE_SECONDS - 1)
        await reader.open(process, FIRST)
        await reader.rest()
        assert (reader.text, reader.end, reader.resets) == ("ab", "done", 0)


@pytest.mark.parametrize("elsewhere", [False, True])
@in_virtual_time
async def test_nobody_waits_for_readers_who_were_cut_off_because_they_lost_access(elsewhere: bool) -> None:
    async with world() as w:
        owner, other = w.process(), w.process()
        client = await asking(owner, FIRST, ANN)
        again = await asking(other if elsewhere else owner, FIRST, ANN)
        await asyncio.sleep(2 * HEARTBEAT_SECONDS)
        before = now()
        lose(w, ANN)
        client.leave()
        again.leave()
        await run_of(client).wait_settled()
        assert now() - before <= (FORSAKEN_SECONDS if elsewhere else 0)
        assert (w.database.statuses(), w.model.open) == (["dropped"], 0)


@in_virtual_time
async def test_token_that_lost_access_asks_in_vain() -> None:
    """Its request was on its way."""
    async with world(grace_seconds=0) as w:
        process = w.process()
        client = await asking(process, FIRST, ANN)
        lose(w, ANN)
        late = await asking(process, FIRST, ANN)
        assert run_of(late).askers == set()
        client.leave()
        late.leave()
        await run_of(client).wait_settled()
        assert w.database.statuses() == ["dropped"]


@in_virtual_time
async def test_answer_goes_on_for_who_needs_no_token() -> None:
    async with world() as w:
        process = w.process()
        for token in (ANN, None):
            (await asking(process, FIRST, token)).leave()
        lose(w, ANN)
        w.model.say("a", STOP)
        await quiet()
        assert w.database.answers() == ["a"]


@in_virtual_time
async def test_asker_at_another_process_is_known_to_the_owner_and_forsaken_there() -> None:
    async with world() as w:
        owner, other = w.process(), w.process()
        (reader,) = await clients(owner, FIRST)
        there = await asking(other, FIRST, ANN)
        await asyncio.sleep(HEARTBEAT_SECONDS + 0.1)
        reader.leave()
        there.leave()
        await asyncio.sleep(2 * GRACE_SECONDS)
        assert owner.answers.askers() == other.answers.askers() == {ANN}
        assert w.database.statuses() == ["active"]
        lose(w, ANN)
        await run_of(reader).wait_settled()
        await run_of(there).wait_settled()
        assert (w.database.statuses(), w.model.generations) == (["dropped"], 1)


@pytest.mark.parametrize("how", ["close", "die"])
@in_virtual_time
async def test_answer_of_an_ended_process_goes_on_elsewhere_only_for_who_has_access(how: str) -> None:
    async with world() as w:
        ending, living = w.process(), w.process()
        living.start()
        anns, bobs = await asking(ending, FIRST, ANN), await asking(ending, ELSEWHERE, BOB)
        bobs.leave()
        if how == "close":
            lose(w, ANN)
            await ending.answers.close()
        else:
            # Nobody notices it but the database.
            await ending.die()
            w.database.revoked.add(ANN)
        anns.leave()
        w.model.say("a", STOP)
        await asyncio.sleep(LEASE_SECONDS + 2 * SWEEP_SECONDS)
        assert w.database.answers() == ["a"]
        assert (living.find(FIRST), living.find(ELSEWHERE)) == (None, None)
        assert w.database.statuses() == ["dropped", "completed"]


# --- those who only read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("when_busy", ["reject", "interrupt", "enqueue"])
@in_virtual_time
async def test_reader_begins_nothing_and_disturbs_nobody(when_busy: str) -> None:
    async with world() as w:
        process, other = w.process(), w.process()
        (first,) = await clients(process, FIRST)
        for at in (process, other):
            for asked in (SECOND, ELSEWHERE):
                with pytest.raises(ForbiddenError):
                    await Client().open(at, asked, when_busy=when_busy, begins_in=())  # type: ignore[arg-type]
        assert (process.keys(), other.keys()) == ([FIRST], [])
        w.model.say("a", STOP)
        await first.rest()
        assert (w.database.statuses(), first.end) == (["completed"], "done")


@in_virtual_time
async def test_reader_follows_what_is_generated_queued_or_stored_and_nothing_continues_for_them() -> None:
    async with world(grace_seconds=0) as w:
        process, other = w.process(), w.process()
        opened = await clients(process, FIRST, THIRD)
        readers = []
        for at, asked in ((process, FIRST), (process, THIRD), (other, FIRST)):
            reader = Client()
            await reader.open(at, asked, continues=True, asked_by=ANN, begins_in=())
            readers.append(reader)
        newest = await process.open(CONVERSATION, StreamOptions(begins_in=(), when_busy="reject"))
        newest.close()
        await quiet()
        assert process.answers.askers() == other.answers.askers() == set()
        assert all(not row.askers for row in w.database.rows.values())
        opened[1].leave()
        w.model.say("a", STOP, "b", STOP)
        await asyncio.gather(opened[0].rest(), *(reader.rest() for reader in readers))
        assert [reader.text for reader in readers] == ["a", "b", "a"]
        late = Client()
        await late.open(other, THIRD, begins_in=())
        await late.rest()
        assert late.text == "b"
        assert w.model.generations == 2


@in_virtual_time
async def test_reader_goes_on_with_the_answer_of_a_dead_process() -> None:
    async with world() as w:
        dying, living = w.process(), w.process()
        (client,) = await clients(dying, FIRST)
        reader = Client()
        await reader.open(dying, FIRST, begins_in=())
        client.leave()
        reader.leave()
        await dying.die()
        await reader.open(living, FIRST, begins_in=())
        w.model.say("a", STOP)
        await reader.rest()
        assert (reader.text, reader.end, now() <= LEASE_SECONDS + 1) == ("a", "done", True)


@pytest.mark.parametrize("joined", [None, "before the claim", "during the claim", "to have it continue"])
@in_virtual_time
async def test_answer_that_was_dropped_elsewhere_is_begun_anew_only_for_who_may_begin_one(joined: str | None) -> None:
    async with world() as w:
        owner, other = w.process(), w.process()
        (member,) = await clients(owner, FIRST)
        await asyncio.sleep(HEARTBEAT_SECONDS / 2)
        member.leave()
        # The owner drops it before it sees that somebody follows it.
        await asyncio.sleep(GRACE_SECONDS - 0.05)
        reader, late = Client(), Client()
        await reader.open(other, FIRST, begins_in=())
        claim = other.store.hold("claim")
        if joined == "during the claim":
            await claim.entered.wait()
        if joined is not None:
            await late.open(other, FIRST, asked_by=ANN, continues=joined == "to have it continue")
            late.leave()
        await claim.entered.wait()
        assert w.database.statuses() == ["dropped"]
        claim.release()
        if joined is None:
            await reader.rest_of_stream()
            assert (reader.text, reader.ends, w.model.generations) == ("", [], 1)
            assert (other.keys(), ended_runs(other)) == ([], {})
            with pytest.raises(ForbiddenError):
                await reader.open(other, FIRST, begins_in=())
        else:
            w.model.say("a", STOP)
            await reader.rest()
            assert (reader.text, w.model.generations) == ("a", 2)


@pytest.mark.parametrize("stored", [False, True])
@in_virtual_time
async def test_reader_whose_answer_ends_while_it_joins_begins_none(stored: bool) -> None:
    async with world(grace_seconds=0) as w:
        process = w.process()
        (member,) = await clients(process, FIRST)
        hold = process.store.hold("open")
        # It asks for the newest question, which only the database knows.
        w.database.messages = {FIRST.trigger_id: w.database.messages[FIRST.trigger_id]}  # type: ignore[index,dict-item]
        options = StreamOptions(begins_in=(), when_busy="enqueue")
        opening = asyncio.create_task(process.open(CONVERSATION, options))
        await hold.entered.wait()
        if stored:
            w.model.say("a", STOP)
            await member.rest()
        else:
            member.leave()
            await run_of(member).wait_settled()
        hold.release()
        if stored:
            opened = await opening
            assert b"a" in b"".join(opened.take())
        else:
            with pytest.raises(ForbiddenError):
                await opening
        assert (process.keys(), w.model.generations) == ([], 1)
