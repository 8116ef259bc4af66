"""Stores of answers: who may begin one, and on whose behalf one goes on without readers."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from chatserver.errors import ConflictError, ForbiddenError, NotFoundError, UnavailableError, ValidationError
from chatserver.ids import uuid7
from chatserver.live.outcomes import NOBODY, Askers, Busy, Claimed, Elsewhere, Ended, RunKey, Stored, Waiting
from chatserver.live.store import AnswerStore, NewMessage
from chatserver.sse import EventId
from tests.kit.memory_store import ANYBODY
from tests.storage.answer_stores import StoresUnderTest


def another(stores: StoresUnderTest) -> RunKey:
    """The answer to the only question of a new conversation."""
    conversation = stores.conversation()
    return stores.key(conversation, stores.say(conversation))


async def asked_for(store: AnswerStore, run: Claimed) -> Askers:
    """On whose behalf a run of a process goes on."""
    return (await store.renew([run.run_id]))[run.run_id].askers


# --- who may begin an answer ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"when_busy": "reject"},
        {"at_capacity": True},
        {"askers": ANYBODY},
        {"trigger_id": None},
        {"resume": EventId(UUID(int=1), 1, 3, 5)},
    ],
    ids=str,
)
@pytest.mark.parametrize("busy", [False, True])
async def test_client_that_may_begin_nothing_begins_nothing(
    stores: StoresUnderTest, key: RunKey, asked: dict[str, Any], busy: bool
) -> None:
    if busy:
        first = stores.key(key.conversation_id, stores.say(key.conversation_id))
        await stores.claimed(first, store=stores.there)
        key = stores.key(key.conversation_id, stores.say(key.conversation_id))
    for begins_in in ((), [uuid4()]):
        with pytest.raises(ForbiddenError):
            await stores.here.open(stores.request(key, begins_in=begins_in, **asked))
    if not busy:
        opened = await stores.here.open(stores.request(key, begins_in=[uuid4(), stores.company]))
        assert isinstance(opened.outcome, Claimed)
        assert opened.outcome.epoch == 1


async def test_what_does_not_exist_is_not_found_before_it_is_forbidden(stores: StoresUnderTest, key: RunKey) -> None:
    conversation = key.conversation_id
    for asked, error in (
        (stores.key(conversation, uuid7()), NotFoundError),
        (stores.key(uuid7(), key.trigger_id), NotFoundError),
        (stores.key(conversation, stores.say(conversation, "no question", "system")), ValidationError),
    ):
        with pytest.raises(error):
            await stores.here.open(stores.request(asked, begins_in=()))


async def test_client_that_may_begin_nothing_joins_what_others_began(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key, store=stores.there)
    request = stores.request(key, begins_in=(), askers=ANYBODY)
    assert (await stores.here.open(request)).outcome == Elsewhere(run.run_id, 1)
    # Its process dies: somebody who follows it takes it over, and it does not continue for them.
    stores.expire(run.run_id)
    taken = (await stores.here.open(request)).outcome
    assert isinstance(taken, Claimed)
    assert (taken.run_id, taken.epoch, taken.askers) == (run.run_id, 2, NOBODY)
    await stores.commit(taken)
    assert isinstance((await stores.there.open(request)).outcome, Stored)


async def test_client_that_may_begin_nothing_joins_what_waits_here(stores: StoresUnderTest, key: RunKey) -> None:
    """Also if it does not name the question."""
    await stores.claimed(stores.key(key.conversation_id, stores.say(key.conversation_id)), store=stores.there)
    waiting = stores.key(key.conversation_id, stores.say(key.conversation_id))
    for named in (waiting.trigger_id, None):
        for begins_in in ((), None):
            asked = stores.request(waiting, trigger_id=named, begins_in=begins_in, when_busy="reject", asked=True)
            with pytest.raises(ConflictError if begins_in is None else ForbiddenError):
                await stores.here.open(asked)
            joined = await stores.here.open(
                stores.request(
                    waiting,
                    trigger_id=named,
                    begins_in=begins_in,
                    when_busy="reject",
                    at_capacity=True,
                    here=[waiting.trigger_id],
                )
            )
            assert (joined.key, joined.outcome) == (waiting, Busy())


async def test_client_that_comes_back_gets_the_end_and_begins_nothing(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    request = stores.request(key, begins_in=(), resume=EventId(run.run_id, 1, 3, 5))
    await stores.here.end(run.run_id, 1, "stopped")
    assert (await stores.here.open(request)).outcome == Ended(run.run_id, 1, "stopped")
    with pytest.raises(ForbiddenError):
        await stores.here.open(stores.request(key, begins_in=()))
    dropped = await stores.claimed(key)
    await stores.here.end(dropped.run_id, 1, "dropped")
    with pytest.raises(ForbiddenError):
        await stores.here.open(stores.request(key, begins_in=(), resume=EventId(dropped.run_id, 1, 3, 5)))


async def test_stopped_run_of_a_dead_process_is_not_begun_anew(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key, store=stores.there)
    await stores.here.request_stop(key.conversation_id, run.run_id, keep=False)
    stores.expire(run.run_id)
    with pytest.raises(ForbiddenError):
        await stores.here.open(stores.request(key, begins_in=()))


async def test_claim_that_may_begin_nothing_takes_over(stores: StoresUnderTest, key: RunKey) -> None:
    with pytest.raises(ForbiddenError):
        await stores.here.claim(key, uuid7(), may_begin=False)
    run = await stores.claimed(key, store=stores.there, askers=ANYBODY)
    stores.expire(run.run_id)
    taken = await stores.here.claim(key, uuid7(), may_begin=False)
    assert isinstance(taken, Claimed)
    assert (taken.run_id, taken.epoch, taken.askers) == (run.run_id, 2, ANYBODY)


async def test_capacity_is_asked_of_those_who_may_begin(stores: StoresUnderTest, key: RunKey) -> None:
    with pytest.raises(UnavailableError):
        await stores.here.open(stores.request(key, begins_in=[stores.company], at_capacity=True))


# --- on whose behalf it goes on ---------------------------------------------------------------------------


async def test_run_continues_for_all_who_asked(stores: StoresUnderTest) -> None:
    one, two, three = (stores.token() for _ in range(3))
    for message in (None, NewMessage("Why?")):
        opened = await stores.here.open(stores.request(another(stores), askers=frozenset((one,)), message=message))
        key, run = opened.key, opened.outcome
        assert isinstance(run, Claimed)
        assert run.askers == await asked_for(stores.here, run) == {one}
        for _ in range(2):
            await stores.there.set_continues(run.run_id, frozenset((two,)))
            assert await asked_for(stores.here, run) == {one, two}
        stores.expire(run.run_id)
        taken = await stores.claimed(key, store=stores.there, askers=frozenset((three,)))
        assert taken.run_id == run.run_id
        assert taken.askers == await asked_for(stores.there, taken) == {one, two, three}
        # Somebody asks who needs no token: it goes on for them, whoever loses access.
        await stores.here.set_continues(run.run_id, ANYBODY)
        await stores.here.set_continues(run.run_id, frozenset((one,)))
        assert None in await asked_for(stores.there, taken)
        await stores.there.end(run.run_id, taken.epoch, "dropped")


async def test_run_that_nobody_asked_for_continues_from_the_first_request_on(
    stores: StoresUnderTest, key: RunKey
) -> None:
    run, token = await stores.claimed(key), stores.token()
    assert await asked_for(stores.here, run) == NOBODY
    stores.expire(run.run_id)
    taken = await stores.claimed(key, store=stores.there)
    assert taken.askers == NOBODY
    await stores.here.set_continues(run.run_id, frozenset((token,)))
    assert await asked_for(stores.there, taken) == {token}
    await stores.there.end(run.run_id, taken.epoch, "stopped")


async def test_runs_of_those_who_lost_access_are_not_adopted_and_make_way(stores: StoresUnderTest) -> None:
    good, expiring = stores.token(), stores.token("1 day")
    revoked, expired = stores.token(), stores.token("-1 second")
    goes_on: list[Askers] = [
        ANYBODY,
        frozenset((good,)),
        frozenset((expiring,)),
        frozenset((revoked, good)),
        frozenset((None, revoked)),
    ]
    is_over: list[Askers] = [frozenset((revoked,)), frozenset((expired,)), frozenset((revoked, expired))]
    keys = [another(stores) for _ in (*goes_on, *is_over)]
    runs = [await stores.claimed(key, askers=each) for key, each in zip(keys, [*goes_on, *is_over], strict=True)]
    for run in runs:
        stores.expire(run.run_id)
    assert set(keys) - set(await stores.there.abandoned()) == {keys[len(goes_on) + 1]}
    stores.revoke(revoked)
    assert set(keys) & set(await stores.there.abandoned()) == set(keys[: len(goes_on)])
    for number, (key, run) in enumerate(zip(keys, runs, strict=True)):
        other = stores.key(key.conversation_id, stores.say(key.conversation_id, "And?"))
        outcome = await stores.there.claim(other, uuid7())
        assert isinstance(outcome, Waiting if number < len(goes_on) else Claimed)
        assert stores.status(run.run_id) == ("active" if number < len(goes_on) else "dropped")
        await stores.there.request_stop(key.conversation_id, None, keep=False)  # for those who come later
