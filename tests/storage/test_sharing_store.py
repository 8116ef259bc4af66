"""What `live.sharing_store.SharingStore` promises, of the store in memory and of the one on PostgreSQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from chatserver.live.journal import Texts
from chatserver.live.outcomes import Claimed, Elsewhere, Ended, Orphaned, RunKey, Stored
from chatserver.live.sharing_store import Look, Position, SharedEvents
from tests.storage.answer_stores import StoresUnderTest

HARD = "\"\\\t\r\n\x01\x7f\x85\u2028é😀{},NULL'"


def events(run: Claimed, after: int, *pieces: str, epoch: int = 1, thought: bool = False) -> SharedEvents:
    texts: Texts = [("reasoning" if thought else "token", list(pieces))]
    return SharedEvents(run.run_id, epoch, after, after + len(pieces), texts)


async def look(stores: StoresUnderTest, run_id: UUID, epoch: int = 1, seq: int = 0) -> Look:
    return (await stores.sharing_there.look([Position(run_id, epoch, seq)]))[run_id]


def pieces_of(found: Look) -> list[tuple[Any, ...]]:
    return [(each.after, each.seq, [(kind, list(pieces)) for kind, pieces in each.texts]) for each in found.events]


async def test_events_are_found_by_their_numbers(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    first, second = events(run, 0, "a", HARD), events(run, 2, "hm", thought=True)
    assert set(await stores.sharing_here.share([first, second])) == set()
    assert set(await stores.sharing_here.share([events(run, 3, "c")])) == set()
    found = await look(stores, run.run_id)
    assert found.state == Elsewhere(run.run_id, 1)
    assert found.owner is not None
    seen = pieces_of(found)
    if found.more:  # one look reads so many rows
        seen += pieces_of(await look(stores, run.run_id, seq=3))
    assert seen == [(0, 2, [("token", ["a", HARD])]), (2, 3, [("reasoning", ["hm"])]), (3, 4, [("token", ["c"])])]
    assert pieces_of(await look(stores, run.run_id, seq=2))[0] == (2, 3, [("reasoning", ["hm"])])
    # from the middle of a row on
    assert pieces_of(await look(stores, run.run_id, seq=1))[0] == (0, 2, [("token", ["a", HARD])])
    assert not (await look(stores, run.run_id, seq=4)).events
    # whoever has another epoch gets all of this one
    assert pieces_of(await look(stores, run.run_id, epoch=7, seq=3))[0][0] == 0


async def test_many_runs_are_written_and_looked_at_together(stores: StoresUnderTest) -> None:
    runs = []
    for _ in range(5):
        conversation = stores.conversation()
        runs.append(await stores.claimed(stores.key(conversation, stores.say(conversation))))
    await stores.sharing_here.share([events(run, 0, str(number)) for number, run in enumerate(runs)])
    positions = [Position(run.run_id, 1, int(number == 3)) for number, run in enumerate(runs)]
    looks = await stores.sharing_there.look([*positions, Position(unknown := uuid4(), 1, 0)])
    found = {run_id: pieces_of(each) for run_id, each in looks.items()}
    assert found == {unknown: []} | {
        run.run_id: [] if number == 3 else [(0, 1, [("token", [str(number)])])] for number, run in enumerate(runs)
    }
    assert looks[unknown].state == Orphaned()


async def test_events_of_runs_that_are_not_ones_own_are_left_out(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    assert set(await stores.sharing_there.share([events(run, 0, "a")])) == set()
    assert set(await stores.sharing_here.share([events(run, 0, "a", epoch=2)])) == set()
    assert stores.frames(run.run_id) == 0
    await stores.here.end(run.run_id, 1, "stopped")
    assert set(await stores.sharing_here.share([events(run, 0, "a")])) == set()
    assert stores.frames(run.run_id) == 0


async def test_what_the_database_lost_is_told_and_written_again(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    await stores.sharing_here.share([events(run, 0, "a", "b")])
    stores.lose_frames(run.run_id)
    assert set(await stores.sharing_here.share([events(run, 2, "c"), events(run, 3, "d")])) == {run.run_id}
    assert stores.frames(run.run_id) == 0
    # cut otherwise: over what is there, or is not
    await stores.sharing_here.share([events(run, 0, "a", "b", "c")])
    await stores.sharing_here.share([events(run, 0, "a", "b"), events(run, 2, "c", "d")])
    (first, *_) = pieces_of(await look(stores, run.run_id, seq=3))
    assert first == (2, 4, [("token", ["c", "d"])])


@pytest.mark.parametrize("how", ["commit", "end", "next epoch", "take over", "stop", "orphan"])
async def test_whatever_ends_a_run_or_begins_it_anew_deletes_its_events(
    stores: StoresUnderTest, key: RunKey, how: str
) -> None:
    run = await stores.claimed(key)
    await stores.sharing_here.share([events(run, 0, "a")])
    assert stores.frames(run.run_id) == 1
    match how:
        case "commit":
            await stores.commit(run)
            assert isinstance((await look(stores, run.run_id)).state, Stored)
        case "end":
            await stores.here.end(run.run_id, 1, "failed", "internal", "It broke")
            state = (await look(stores, run.run_id)).state
            assert state == Ended(run.run_id, 1, "failed", "internal", "It broke")
        case "next epoch":
            await stores.here.next_epoch(run.run_id, 1)
            found = await look(stores, run.run_id, seq=1)
            assert (found.state, list(found.events)) == (Elsewhere(run.run_id, 2), [])
        case _:
            stores.expire(run.run_id, seconds_ago=100)
            assert (await look(stores, run.run_id)).state == Orphaned()
            if how == "take over":
                await stores.claimed(key, store=stores.there)
            elif how == "stop":
                await stores.there.request_stop(key.conversation_id, None, keep=True)
            else:
                other = stores.key(key.conversation_id, stores.say(key.conversation_id))
                await stores.claimed(other, store=stores.there)
    assert stores.frames(run.run_id) == 0


async def test_owner_knows_who_follows(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)

    async def followed() -> bool:
        return (await stores.here.renew([run.run_id]))[run.run_id].followed

    assert not await followed()
    # as it would have, if it had taken the run over
    await stores.sharing_here.follow([run.run_id])
    assert not await followed()
    for _ in range(2):
        await stores.sharing_there.follow([run.run_id, uuid4()])
        assert await followed()
    await stores.sharing_there.unfollow([run.run_id, uuid4()])
    assert not await followed()
