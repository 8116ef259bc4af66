"""Whatever a process writes for another one, the same transaction tells that one to look."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine

from chatserver.channels import inbox
from chatserver.ids import uuid7
from chatserver.live.outcomes import Place, RunKey, Waiting
from chatserver.live.store import AnswerStore
from tests.storage.answer_stores import NamedProvider, PostgresStores


@pytest.fixture
def stores(engine: Engine, module_database_url: str) -> Iterator[PostgresStores]:
    made = PostgresStores(NamedProvider(needs_user_turn=False), engine, module_database_url, in_batches=True)
    yield made
    made.close()


async def owner_of(stores: PostgresStores, store: AnswerStore, url: str) -> UUID:
    """The process of a store."""
    conversation = stores.conversation()
    run = await stores.claimed(stores.key(conversation, stores.say(conversation)), store=store)
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT owner FROM chat_runs WHERE id = %s", [run.run_id]).fetchone()
        assert row is not None
        return UUID(str(row[0]))


async def test_owners_and_those_who_wait_are_told_at_their_inboxes(
    stores: PostgresStores, module_database_url: str
) -> None:
    here, there = [await owner_of(stores, store, module_database_url) for store in (stores.here, stores.there)]
    conversation = stores.conversation()
    keys = [stores.key(conversation, stores.say(conversation)) for _ in range(5)]

    async def place_of(key: RunKey, *, here: bool, **asked: str) -> Place:
        opened = await (stores.here if here else stores.there).open(stores.request(key, **asked))
        assert isinstance(opened.outcome, Waiting)
        return opened.outcome.place

    with psycopg.connect(module_database_url, autocommit=True) as connection:

        def heard() -> list[tuple[bool, str]]:
            """What came in since the last time, and whether it was for the process `here`."""
            came = connection.notifies(timeout=0.2)
            return sorted((notify.channel == inbox(here), notify.payload) for notify in came)

        for process in (here, there):
            connection.execute(f"LISTEN {inbox(process)}".encode())
        run = await stores.claimed(keys[0])
        assert heard() == []
        first = await place_of(keys[1], here=False)
        assert heard() == [(True, f"run {run.run_id}")], "it is asked to make way"
        await stores.there.request_stop(conversation, None, keep=False)
        assert heard() == [(True, f"run {run.run_id}")]
        await stores.there.ask_to_yield(conversation)
        assert heard() == [(True, f"run {run.run_id}")]
        interrupting = await place_of(keys[2], here=False, when_busy="interrupt")
        assert heard() == [(True, f"run {run.run_id}")]
        await stores.here.open(stores.request(keys[3], when_busy="interrupt", here=[keys[0].trigger_id]))
        assert heard() == [(False, f"run {interrupting.id}")]
        await stores.there.leave(interrupting)
        assert heard() == [(True, f"turn {conversation}")]
        await stores.here.end(run.run_id, run.epoch, "stopped")
        assert heard() == [(True, f"turn {conversation}")], "it is the turn of the one that interrupted last"
        stores.empty_queues()
        joined = Place(uuid7(), first.number)
        await stores.there.renew_places({first: keys[1]}, [first])
        await stores.here.renew_places({joined: keys[1]}, [joined])
        await stores.claimed(keys[1])
        assert heard() == [(False, f"turn {conversation}")], "it is begun here, and waits there"
