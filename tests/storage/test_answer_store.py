"""One suite for every `live.store.AnswerStore`: what it promises holds in memory and on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from chatserver.errors import (
    ChatServerError,
    ConflictError,
    NotFoundError,
    UnavailableError,
    UnprocessableError,
    ValidationError,
)
from chatserver.ids import uuid7
from chatserver.live.outcomes import (
    NOBODY,
    Busy,
    Claimed,
    Committed,
    Elsewhere,
    Ended,
    Lost,
    Orphaned,
    Renewal,
    Restarted,
    RunKey,
    StopState,
    Stored,
    Waiting,
)
from chatserver.live.store import NewMessage
from chatserver.providers.base import Turn, Usage
from chatserver.sse import EventId
from tests.kit.memory_store import ANYBODY
from tests.storage.answer_stores import (
    StoredAnswer,
    StoresUnderTest,
    new_answer,
)


def other_key(stores: StoresUnderTest, key: RunKey) -> RunKey:
    """The answer to a further question of the same conversation."""
    return stores.key(key.conversation_id, stores.say(key.conversation_id, "And?"))


async def commit(stores: StoresUnderTest, claimed: Claimed, text: str = "So.", *, kept: bool = False) -> UUID:
    """Store an answer; the id of its message."""
    message_id = uuid7()
    result = await stores.commit(claimed, text, message_id=message_id, kept=kept, usage=Usage(3, 4), stop_reason="stop")
    assert result == Committed()
    return message_id


# --- open -------------------------------------------------------------------------------------------------


async def test_open_claims_an_answer_that_nobody_generates(stores: StoresUnderTest, key: RunKey) -> None:
    opened = await stores.here.open(stores.request(key, askers=ANYBODY))
    assert isinstance(opened.outcome, Claimed)
    assert (opened.key, opened.reset) == (key, False)
    claimed = opened.outcome
    assert (claimed.epoch, claimed.provider, claimed.askers) == (1, stores.provider, ANYBODY)
    assert claimed.prompt.turns == (Turn("user", "?"),)
    assert stores.status(claimed.run_id) == "active"


async def test_history_is_read_after_the_claim_as_far_as_it_fits(stores: StoresUnderTest, key: RunKey) -> None:
    further = other_key(stores, key)
    await commit(stores, await stores.claimed(key), "So.")
    claimed = await stores.claimed(further)
    assert claimed.history_chars == 1_000 - len("And?")
    assert await stores.here.history(further, 4) == (Turn("user", "?"), Turn("assistant", "So."))
    assert await stores.here.history(further, 3) == (Turn("assistant", "So."),)
    assert await stores.here.history(further, 2) == ()
    assert await stores.here.history(key, 1_000) == ()


async def test_provider_that_reads_the_question_alone_gets_no_history(stores: StoresUnderTest, key: RunKey) -> None:
    stores.provider.needs_user_turn = False
    assert (await stores.claimed(key)).history_chars == 0


async def test_open_joins_an_answer_of_another_process(stores: StoresUnderTest, key: RunKey) -> None:
    claimed = await stores.claimed(key)
    opened = await stores.there.open(stores.request(key))
    assert opened.outcome == Elsewhere(claimed.run_id, claimed.epoch)


async def test_open_without_a_trigger_takes_the_newest_live_user_message(stores: StoresUnderTest, key: RunKey) -> None:
    newest = other_key(stores, key)
    assert newest.trigger_id is not None
    stores.say(key.conversation_id, "not a question", "system")
    named_none = stores.key(key.conversation_id, None)
    opened = await stores.here.open(stores.request(named_none))
    assert opened.key == newest
    assert isinstance(opened.outcome, Claimed)
    await stores.here.end(opened.outcome.run_id, 1, "dropped")
    stores.supersede(newest.trigger_id)
    assert (await stores.here.open(stores.request(named_none))).key == key


async def test_open_without_any_user_message_needs_a_provider_that_does_without(stores: StoresUnderTest) -> None:
    key = stores.key(stores.conversation(), None)
    with pytest.raises(ValidationError):
        await stores.here.open(stores.request(key))
    stores.provider.needs_user_turn = False
    opened = await stores.here.open(stores.request(key))
    assert isinstance(opened.outcome, Claimed)
    assert (opened.key.trigger_id, opened.outcome.prompt.turns) == (None, ())


async def test_open_of_an_unknown_conversation_or_trigger_is_refused(stores: StoresUnderTest, key: RunKey) -> None:
    elsewhere = stores.say(stores.conversation())
    answered = stores.say(key.conversation_id, "I am no question", "assistant")
    blank = stores.say(key.conversation_id, " \n ")
    superseded = stores.say(key.conversation_id, "once")
    stores.supersede(superseded)
    refused: list[tuple[Any, type[ChatServerError]]] = [
        (stores.request(stores.key(uuid4(), None)), NotFoundError),
        (stores.request(key, companies=[uuid4()]), NotFoundError),
        (stores.request(key, companies=[]), NotFoundError),
        (stores.request(stores.key(key.conversation_id, uuid4())), NotFoundError),
        (stores.request(stores.key(key.conversation_id, elsewhere)), NotFoundError),
        (stores.request(stores.key(key.conversation_id, superseded)), NotFoundError),
        (stores.request(stores.key(key.conversation_id, answered)), ValidationError),
        (stores.request(stores.key(key.conversation_id, blank)), ValidationError),
    ]
    for request, error in refused:
        with pytest.raises(error):
            await stores.here.open(request)
    stores.delete(key.conversation_id)
    with pytest.raises(NotFoundError):
        await stores.here.open(stores.request(key))


async def test_open_of_a_busy_conversation_is_refused_or_has_to_wait(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key, store=stores.there)
    other = other_key(stores, key)
    for wanted_here, asked in ((True, False), (False, True)):
        request = stores.request(other, when_busy="reject", wanted_here=wanted_here, asked=asked)
        with pytest.raises(ConflictError):
            await stores.here.open(request)
    opened = await stores.here.open(stores.request(other, when_busy="reject"))
    assert opened.outcome == Busy(run.run_id), "perhaps nobody reads it"
    assert isinstance((await stores.here.open(stores.request(other))).outcome, Waiting)


async def test_open_behind_other_answers_of_the_process_begins_nothing(stores: StoresUnderTest, key: RunKey) -> None:
    others = [other_key(stores, key).trigger_id]
    assert isinstance((await stores.here.open(stores.request(key, here=others))).outcome, Waiting)
    claimed = await stores.claimed(key)
    joined = await stores.here.open(stores.request(key, here=others))
    assert joined.outcome == Elsewhere(claimed.run_id, 1)


async def test_open_at_capacity_begins_nothing_but_shows_what_is_stored(stores: StoresUnderTest, key: RunKey) -> None:
    with pytest.raises(UnavailableError):
        await stores.here.open(stores.request(key, at_capacity=True))
    claimed = await stores.claimed(key)
    with pytest.raises(UnavailableError):  # following costs memory, too
        await stores.there.open(stores.request(key, at_capacity=True))
    await commit(stores, claimed)
    opened = await stores.there.open(stores.request(key, at_capacity=True))
    assert isinstance(opened.outcome, Stored)


async def test_one_of_two_processes_that_open_at_once_claims_and_the_other_joins(stores: StoresUnderTest) -> None:
    for when_busy in ["reject", "interrupt", "enqueue"] * 4:
        conversation = stores.conversation()
        request = stores.request(stores.key(conversation, stores.say(conversation)), when_busy=when_busy)
        outcomes = [
            opened.outcome for opened in await asyncio.gather(stores.here.open(request), stores.there.open(request))
        ]
        (claimed,) = (outcome for outcome in outcomes if isinstance(outcome, Claimed))
        assert Elsewhere(claimed.run_id, 1) in outcomes
        assert (await stores.here.renew([claimed.run_id])) | (await stores.there.renew([claimed.run_id])) == {
            claimed.run_id: Renewal(None, followed=False)
        }


# --- open with a message ----------------------------------------------------------------------------------


async def test_open_with_a_message_adds_it_and_claims_its_answer(stores: StoresUnderTest) -> None:
    conversation = stores.conversation()
    request = stores.request(stores.key(conversation, None), message=NewMessage("What?"))
    opened = await stores.here.open(request)
    assert isinstance(opened.outcome, Claimed)
    assert opened.outcome.prompt.turns == (Turn("user", "What?"),)
    assert opened.key.trigger_id is not None
    assert stores.contents(conversation) == ["What?"]


async def test_message_of_one_idempotency_key_is_added_once(stores: StoresUnderTest) -> None:
    conversation = stores.conversation()
    key = stores.key(conversation, None)
    first = await stores.here.open(stores.request(key, message=NewMessage("What?", None, "k")))
    again = await stores.there.open(stores.request(key, message=NewMessage("What?", None, "k")))
    assert isinstance(first.outcome, Claimed)
    assert (again.key, again.outcome) == (first.key, Elsewhere(first.outcome.run_id, 1))
    with pytest.raises(UnprocessableError):
        await stores.here.open(stores.request(key, message=NewMessage("Other", None, "k")))
    assert stores.contents(conversation) == ["What?"]


async def test_refused_message_is_not_stored_and_its_key_is_free(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    message = NewMessage("Me too", None, "k")
    request = stores.request(stores.key(key.conversation_id, None), message=message, when_busy="reject")
    assert (await stores.there.open(request)).outcome == Busy(run.run_id)
    with pytest.raises(ConflictError):
        await stores.there.open(replace(request, asked=True))
    assert stores.contents(key.conversation_id) == ["?"]
    await stores.here.end(run.run_id, run.epoch, "dropped")
    other_body = stores.request(stores.key(key.conversation_id, None), message=NewMessage("Changed", None, "k"))
    assert isinstance((await stores.there.open(other_body)).outcome, Claimed)
    assert stores.contents(key.conversation_id) == ["?", "Changed"]


# --- open with an event id --------------------------------------------------------------------------------


def after(run_id: UUID, epoch: int = 1) -> EventId:
    return EventId(run_id, epoch, 1, 1)


async def test_event_id_names_the_run_where_the_trigger_was_left_out(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    message_id = await commit(stores, run)
    other_key(stores, key)
    opened = await stores.there.open(
        stores.request(stores.key(key.conversation_id, None), resume=after(run.run_id), at_capacity=True)
    )
    assert isinstance(opened.outcome, Stored)
    assert (opened.key, opened.reset, opened.outcome.message_id) == (key, False, message_id)


@pytest.mark.parametrize("status", ["stopped", "failed"])
async def test_event_id_of_a_run_that_ended_gets_that_end(stores: StoresUnderTest, key: RunKey, status: Any) -> None:
    run = await stores.claimed(key)
    await stores.here.end(run.run_id, run.epoch, status, "timeout", "Too slow")
    opened = await stores.there.open(stores.request(key, resume=after(run.run_id)))
    assert opened.outcome == Ended(run.run_id, 1, status, "timeout", "Too slow")


async def test_event_id_of_another_answer_or_conversation_means_a_reset(stores: StoresUnderTest, key: RunKey) -> None:
    dropped = await stores.claimed(key)
    await stores.here.end(dropped.run_id, dropped.epoch, "dropped")
    conversation = stores.conversation()
    foreign_key = stores.key(conversation, stores.say(conversation))
    foreign = await stores.claimed(foreign_key)
    await commit(stores, foreign)
    for unknown in (dropped.run_id, foreign.run_id, uuid4()):
        opened = await stores.here.open(stores.request(key, resume=after(unknown)))
        assert isinstance(opened.outcome, Claimed)
        assert opened.reset
        await stores.here.end(opened.outcome.run_id, 1, "dropped")
    run = await stores.claimed(key)
    opened = await stores.there.open(stores.request(key, resume=after(run.run_id)))
    assert (opened.outcome, opened.reset) == (Elsewhere(run.run_id, 1), False)


# --- claim and take over ----------------------------------------------------------------------------------


async def test_claim_gives_a_new_run_the_id_that_was_asked_for(stores: StoresUnderTest, key: RunKey) -> None:
    run_id = uuid7()
    outcome = await stores.here.claim(key, run_id)
    assert isinstance(outcome, Claimed)
    assert (outcome.run_id, outcome.epoch, outcome.askers) == (run_id, 1, NOBODY)


async def test_claim_of_a_leased_run_is_elsewhere_and_of_another_trigger_waits(
    stores: StoresUnderTest, key: RunKey
) -> None:
    run = await stores.claimed(key)
    assert await stores.there.claim(key, uuid7()) == Elsewhere(run.run_id, 1)
    other = uuid7()
    outcome = await stores.there.claim(other_key(stores, key), other)
    assert isinstance(outcome, Waiting)
    assert (outcome.place.id, outcome.place.interrupts) == (other, False)


async def test_expired_run_is_taken_over_under_its_id_and_a_new_epoch(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key, askers=ANYBODY)
    stores.expire(run.run_id)
    taken = await stores.claimed(key, store=stores.there)
    assert (taken.run_id, taken.epoch, taken.askers) == (run.run_id, 2, ANYBODY)
    assert await stores.here.renew([run.run_id]) == {}
    assert await stores.here.next_epoch(run.run_id, 1) == Lost()
    lost = await stores.here.commit(run.run_id, 1, new_answer("late"))
    assert lost == Lost()
    await stores.here.end(run.run_id, 1, "failed")
    assert (stores.status(run.run_id), stores.answers(key.conversation_id)) == ("active", [])


async def test_claim_whose_confirmation_was_lost_is_claimed_again(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    again = await stores.claimed(key)
    assert (again.run_id, again.epoch) == (run.run_id, 2)


async def test_expired_run_that_was_to_be_stopped_ends_stopped(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    assert await stores.there.request_stop(key.conversation_id, None, keep=False) == run.run_id
    stores.expire(run.run_id)
    assert await stores.there.claim(key, uuid7()) == Ended(run.run_id, 1, "stopped")
    assert stores.status(run.run_id) == "stopped"


async def test_client_that_comes_after_such_a_stop_gets_a_new_run(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    await stores.there.request_stop(key.conversation_id, None, keep=False)
    stores.expire(run.run_id)
    opened = await stores.there.open(stores.request(key))
    assert isinstance(opened.outcome, Claimed)
    assert (opened.outcome.run_id != run.run_id, stores.status(run.run_id)) == (True, "stopped")


async def test_expired_run_makes_way_for_another_trigger(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    stores.expire(run.run_id)
    await stores.claimed(other_key(stores, key), store=stores.there)
    assert stores.status(run.run_id) == "dropped"


async def test_expired_run_that_continues_makes_way_only_after_a_minute(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key, askers=ANYBODY)
    other = other_key(stores, key)
    stores.expire(run.run_id, seconds_ago=50)
    assert isinstance(await stores.there.claim(other, uuid7()), Waiting)
    stores.expire(run.run_id, seconds_ago=70)
    await stores.claimed(other, store=stores.there)
    assert stores.status(run.run_id) == "dropped"


async def test_claim_of_what_was_deleted_meanwhile_is_refused(stores: StoresUnderTest, key: RunKey) -> None:
    assert key.trigger_id is not None
    stores.supersede(key.trigger_id)
    with pytest.raises(NotFoundError):
        await stores.here.claim(key, uuid7())
    stores.delete(key.conversation_id)
    with pytest.raises(NotFoundError):
        await stores.here.claim(key, uuid7())


# --- hold -------------------------------------------------------------------------------------------------


async def test_look_shows_every_state_of_a_run(stores: StoresUnderTest, key: RunKey) -> None:
    assert await stores.look(uuid4()) == Orphaned()
    run = await stores.claimed(key)
    assert await stores.look(run.run_id) == Elsewhere(run.run_id, 1)
    stores.expire(run.run_id)
    assert await stores.look(run.run_id) == Orphaned()
    await stores.here.renew([run.run_id])
    await stores.here.end(run.run_id, 1, "failed", "internal", "It broke")
    assert await stores.look(run.run_id) == Ended(run.run_id, 1, "failed", "internal", "It broke")
    second = await stores.claimed(key)
    message_id = await commit(stores, second, "So.", kept=True)
    assert await stores.look(second.run_id) == Stored(
        second.run_id, 1, message_id, "So.", edited=False, kept=True, usage=Usage(3, 4), stop_reason="stop"
    )


async def test_renewal_extends_the_lease_and_tells_what_others_asked_for(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    assert await stores.here.renew([run.run_id, uuid4()]) == {run.run_id: Renewal(None, followed=False)}
    assert await stores.there.renew([run.run_id]) == {}
    stores.expire(run.run_id)
    await stores.here.renew([run.run_id])
    await stores.sharing_there.follow([run.run_id])
    await stores.there.set_continues(run.run_id, ANYBODY)
    await stores.there.request_stop(key.conversation_id, None, keep=True)
    assert await stores.here.renew([run.run_id]) == {run.run_id: Renewal("keep", followed=True, askers=ANYBODY)}
    await stores.here.end(run.run_id, 1, "stopped")
    assert await stores.here.renew([run.run_id]) == {}


async def test_next_epoch_may_be_repeated(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    assert await stores.here.next_epoch(run.run_id, 1) == Restarted(2)
    assert await stores.here.next_epoch(run.run_id, 1) == Restarted(2)
    assert await stores.there.next_epoch(run.run_id, 2) == Lost()
    assert await stores.look(run.run_id) == Elsewhere(run.run_id, 2)


async def test_released_run_is_taken_over_at_once(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    await stores.there.release(run.run_id)
    assert await stores.look(run.run_id) == Elsewhere(run.run_id, 1), "it was not that process's to release"
    await stores.here.release(run.run_id)
    taken = await stores.claimed(key, store=stores.there)
    assert (taken.run_id, taken.epoch) == (run.run_id, 2)


async def test_abandoned_runs_are_those_that_continue_and_have_no_owner(stores: StoresUnderTest) -> None:
    keys = []
    for _ in range(5):
        conversation = stores.conversation()
        keys.append(stores.key(conversation, stores.say(conversation)))
    runs = [await stores.claimed(key, askers=ANYBODY if number else NOBODY) for number, key in enumerate(keys)]
    for run in runs[:4]:
        stores.expire(run.run_id)
    await stores.there.request_stop(keys[1].conversation_id, None, keep=False)
    stores.delete(keys[2].conversation_id)
    abandoned = await stores.there.abandoned()
    assert [key for key in keys if key in abandoned] == [keys[3]]


# --- end --------------------------------------------------------------------------------------------------


async def test_committed_answer_is_stored_once_however_often_it_is_committed(
    stores: StoresUnderTest, key: RunKey
) -> None:
    run = await stores.claimed(key)
    message_id = uuid7()
    for _ in range(2):
        assert await stores.commit(run, "So.", message_id=message_id, stop_reason="length") == Committed()
    assert (await stores.commit(run, "So!"), stores.status(run.run_id)) == (Lost(), "completed")
    assert stores.answers(key.conversation_id) == [StoredAnswer("So.", kept=False, stop_reason="length")]
    opened = await stores.there.open(stores.request(key))
    assert opened.outcome == Stored(
        run.run_id, 1, message_id, "So.", edited=False, kept=False, usage=None, stop_reason="length"
    )


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    "known",
    [
        {},
        {
            "usage": Usage(3, 4),
            "model": "m",
            "stop_reason": "length",
            "duration_ms": 1_234,
            "reasoning": 'hm, \n"so"',
            "reasoning_ms": 567,
        },
        {"model": 'm\\{,}"NULL', "duration_ms": 0},
        {"reasoning": "r" * 100_000, "stop_reason": "stop"},
    ],
    ids=["nothing", "everything", "an odd name", "long thoughts"],
)
async def test_what_is_known_of_an_answer_is_stored_with_it(
    stores: StoresUnderTest, key: RunKey, kept: bool, known: dict[str, Any]
) -> None:
    run = await stores.claimed(key)
    assert await stores.commit(run, "So.", kept=kept, **known) == Committed()
    assert stores.answers(key.conversation_id) == [StoredAnswer("So.", kept, **known)]


async def test_process_that_takes_a_run_over_stores_what_it_knows(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    stores.expire(run.run_id)
    taken = await stores.claimed(key, store=stores.there)
    assert await stores.commit(run, "late", model="old") == Lost()
    known: dict[str, Any] = {"model": "new", "duration_ms": 5, "reasoning": "hm", "reasoning_ms": 3}
    assert await stores.commit(taken, "So.", store=stores.there, **known) == Committed()
    assert stores.answers(key.conversation_id) == [StoredAnswer("So.", kept=False, **known)]


async def test_stored_answer_shows_its_edited_text(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    message_id = await commit(stores, run)
    stores.edit_answer(message_id, "Better so.")
    outcome = (await stores.there.open(stores.request(key))).outcome
    assert isinstance(outcome, Stored)
    assert (outcome.text, outcome.edited) == ("Better so.", True)


async def test_commit_in_another_epoch_is_lost(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    await stores.here.next_epoch(run.run_id, 1)
    lost = await stores.here.commit(run.run_id, 1, new_answer())
    assert (lost, stores.answers(key.conversation_id)) == (Lost(), [])


async def test_commit_into_a_deleted_conversation_stops_the_run(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    stores.delete(key.conversation_id)
    lost = await stores.here.commit(run.run_id, 1, new_answer())
    assert (lost, stores.status(run.run_id), stores.answers(key.conversation_id)) == (Lost(), "stopped", [])


async def test_answer_that_ended_without_text_is_generated_anew(stores: StoresUnderTest, key: RunKey) -> None:
    for status in ("stopped", "failed", "dropped"):
        run = await stores.claimed(key)
        await stores.here.end(run.run_id, 1, status)  # type: ignore[arg-type]
        await stores.here.end(run.run_id, 1, "failed")
        assert stores.status(run.run_id) == status, "the first end counts"


# --- stop -------------------------------------------------------------------------------------------------


async def test_first_request_to_stop_decides_what_is_kept(stores: StoresUnderTest, key: RunKey) -> None:
    assert await stores.there.request_stop(key.conversation_id, None, keep=False) is None
    run = await stores.claimed(key)
    for keep in (False, True):
        assert await stores.there.request_stop(key.conversation_id, None, keep=keep) == run.run_id
    assert (await stores.here.renew([run.run_id]))[run.run_id].stop == "discard"


async def test_request_to_stop_one_run_leaves_the_next_one_alone(stores: StoresUnderTest, key: RunKey) -> None:
    first = await stores.claimed(key)
    await commit(stores, first)
    following = await stores.claimed(other_key(stores, key))
    assert await stores.there.request_stop(key.conversation_id, first.run_id, keep=True) is None
    assert (await stores.here.renew([following.run_id]))[following.run_id].stop is None
    assert await stores.there.request_stop(key.conversation_id, following.run_id, keep=True) == following.run_id
    assert (await stores.here.renew([following.run_id]))[following.run_id].stop == "keep"


async def test_request_to_stop_ends_an_expired_run(stores: StoresUnderTest, key: RunKey) -> None:
    run = await stores.claimed(key)
    stores.expire(run.run_id)
    assert await stores.there.request_stop(key.conversation_id, None, keep=True) is None
    assert stores.status(run.run_id) == "stopped"


async def test_stop_is_pending_until_its_owner_reacts_or_its_lease_expires(
    stores: StoresUnderTest, key: RunKey
) -> None:
    run = await stores.claimed(key)
    await stores.there.request_stop(key.conversation_id, None, keep=True)
    assert await stores.there.stop_state(run.run_id) is StopState.PENDING
    await commit(stores, run, kept=True)
    assert await stores.there.stop_state(run.run_id) is StopState.STOPPED
    other = await stores.claimed(other_key(stores, key))
    stores.expire(other.run_id)
    assert await stores.there.stop_state(other.run_id) is StopState.STOPPED
    assert stores.status(other.run_id) == "stopped"
    third = await stores.claimed(other_key(stores, key))
    await commit(stores, third)
    assert await stores.there.stop_state(third.run_id) is StopState.ENDED


async def test_conversation_is_required_to_exist_for_the_companies(stores: StoresUnderTest, key: RunKey) -> None:
    await stores.here.require_conversation(None, key.conversation_id)
    await stores.here.require_conversation([stores.company], key.conversation_id)
    for companies, conversation in (([uuid4()], key.conversation_id), ([], key.conversation_id), (None, uuid4())):
        with pytest.raises(NotFoundError):
            await stores.here.require_conversation(companies, conversation)
    stores.delete(key.conversation_id)
    with pytest.raises(NotFoundError):
        await stores.here.require_conversation(None, key.conversation_id)
