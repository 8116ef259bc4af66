"""Who ends runs removes their followers, in the order in which processes lock them. So neither deadlocks the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, func, select, text, update

from chatserver.ids import uuid7
from chatserver.storage import frames, sweep
from chatserver.storage.answers import Answer
from chatserver.storage.postgres.connections import make_engine
from chatserver.storage.sharing_tables import followers
from chatserver.storage.tables import runs
from chatserver.storage.turns.committing import commit_answers
from tests.kit.waiting import PATIENCE_SECONDS
from tests.storage.conftest import Chat

THERE = uuid4()


@pytest.fixture
def batches(module_database_url: str) -> Iterator[Engine]:
    """Connections as batches have them."""
    settings = frames.SESSION_SETTINGS
    engine = make_engine(module_database_url, connections=2, statement_timeout_seconds=10, session_settings=settings)
    yield engine
    engine.dispose()


def followed(chat: Chat, connection: Connection) -> list[UUID]:
    """Two active runs of one owner that another process follows, in the order of their ids."""
    # The ids of their conversations are in the other order.
    conversations = [chat.conversation() for _ in range(2)]
    found = [chat.run(each, "active", trigger_message_id=uuid4()) for each in reversed(conversations)]
    frames.follow(connection, THERE, found)
    return found


def lock(connection: Connection, run_id: UUID) -> None:
    connection.execute(select(followers.c.until).where(followers.c.run_id == run_id).with_for_update())


def wait_until_blocked(connection: Connection, work: threading.Thread) -> None:
    """Return when a session of the database waits for a lock."""
    waiting = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not connection.execute(waiting).scalar_one():
        assert work.is_alive() and time.monotonic() < deadline


def end_by_commit(connection: Connection, found: list[UUID]) -> None:
    owner = uuid4()
    connection.execute(update(runs).where(runs.c.id.in_(found)).values(owner=owner))
    rest = (None, None, None, "stop", None, None, None)
    answers = [Answer(run_id, 1, uuid7(), "So.", False, *rest) for run_id in reversed(found)]
    assert commit_answers(connection, answers, owner=owner) == [True, True]


def end_by_sweep(connection: Connection, found: list[UUID]) -> None:
    expired = func.clock_timestamp() - text("interval '1 minute'")
    connection.execute(update(runs).where(runs.c.id.in_(found)).values(lease_until=expired))
    sweep.end_dead_runs(connection)


@pytest.mark.parametrize("end", [end_by_commit, end_by_sweep])
def test_ends_of_runs_wait_for_followers_in_their_order(
    engine: Engine, batches: Engine, connection: Connection, chat: Chat, end: Callable[[Connection, list[UUID]], None]
) -> None:
    found = followed(chat, connection)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with batches.connect() as ending:
                end(ending, found)
        except BaseException as error:
            failures.append(error)

    with engine.execution_options(isolation_level="READ COMMITTED").begin() as following:
        lock(following, found[0])
        ending = threading.Thread(target=work)
        ending.start()
        wait_until_blocked(connection, ending)
        following.execute(text("SET LOCAL lock_timeout = '500ms'"))
        lock(following, found[1])
    ending.join(PATIENCE_SECONDS)
    assert not failures
    assert not connection.execute(select(followers).where(followers.c.run_id.in_(found))).all()


@pytest.mark.parametrize(
    "leave",
    [lambda c, found: frames.unfollow(c, THERE, found), lambda c, _: sweep.remove_left_behind(c)],
    ids=["readers", "processes"],
)
def test_leaving_waits_for_no_end(
    engine: Engine, connection: Connection, chat: Chat, leave: Callable[[Connection, list[UUID]], None]
) -> None:
    found = followed(chat, connection)
    long_ago = func.clock_timestamp() - text("interval '1 minute'")
    connection.execute(update(followers).where(followers.c.run_id.in_(found)).values(until=long_ago))
    with engine.execution_options(isolation_level="READ COMMITTED").begin() as ending:
        lock(ending, found[0])
        connection.execute(text("SET lock_timeout = '500ms'"))
        leave(connection, found)
        connection.execute(text("RESET lock_timeout"))
    left = select(followers.c.run_id).where(followers.c.run_id.in_(found))
    assert connection.execute(left).scalars().all() == [found[0]]
