"""Restore: versions are leafed through, and none is lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, func, select, text, update

from chatserver.errors import ConflictError, NotFoundError
from chatserver.storage import conversations, messages, revisions, runs
from chatserver.storage.branch import branch
from chatserver.storage.restore import Restored, restore
from chatserver.storage.rewind import rewind
from chatserver.storage.tables import messages as message_table
from chatserver.storage.tables import revisions as revision_table
from chatserver.storage.tables import runs as run_table
from tests.storage.conftest import Chat

Transaction = Callable[[], AbstractContextManager[Connection]]


class Versions:
    """One conversation, whose messages are named by their contents."""

    def __init__(self, chat: Chat, transaction: Transaction) -> None:
        self.chat = chat
        self.id = chat.conversation()
        self._transaction = transaction

    def rows(self) -> dict[str, Any]:
        """All messages in the order of writing."""
        criterion = message_table.c.conversation_id == self.id
        statement = select(message_table).where(criterion).order_by(message_table.c.position)
        return {row.content: row for row in self.chat.connection.execute(statement)}

    def read(self) -> list[str]:
        """The live messages in reading order."""
        rows = list(self.rows().values())
        positions = {row.id: row.position for row in rows if row.superseded_at is None}
        live = [row for row in rows if row.superseded_at is None]
        return [row.content for row in sorted(live, key=lambda r: (positions.get(r.reply_to, r.position), r.position))]

    def wordings(self) -> dict[str, str]:
        """The effective contents of the live messages."""
        return {name: row.edited_content or name for name, row in self.rows().items() if row.superseded_at is None}

    def ask(self, name: str) -> str:
        self.chat.say(self.id, name)
        return name

    def answer(self, question: str, name: str, status: str = "completed") -> str:
        self.chat.answer(self.id, self.rows()[question], name, status)
        return name

    def turn(self, question: str, answer: str, status: str = "completed") -> None:
        self.ask(question)
        self.answer(question, answer, status)

    def answer_anew(self, question: str, answer: str) -> None:
        self.rewind(question)
        self.answer(question, answer)

    def edit(self, name: str, content: str) -> None:
        assert revisions.edit(self.chat.connection, None, self.id, self.rows()[name].id, content)

    def rewind(self, name: str) -> int:
        with self._transaction() as connection:
            return rewind(connection, None, self.id, self.rows()[name].id)

    def restore(self, name: str) -> Restored:
        with self._transaction() as connection:
            return restore(connection, None, self.id, self.rows()[name].id)

    def statuses(self) -> dict[str, str]:
        """The status of the run of each answer."""
        statement = select(message_table.c.content, run_table.c.status).join(
            run_table, run_table.c.answer_message_id == message_table.c.id
        )
        criterion = run_table.c.conversation_id == self.id
        return {row.content: row.status for row in self.chat.connection.execute(statement.where(criterion))}

    def forget_groups(self) -> None:
        """Leave what a rewind of an older version would have left: times that differ, and no places."""
        superseded = message_table.c.superseded_at
        later = func.make_interval(0, 0, 0, 0, 0, 0, literal_micros())
        self.chat.connection.execute(
            update(message_table)
            .where(message_table.c.conversation_id == self.id, message_table.c.superseded_after.is_not(None))
            .values(superseded_at=superseded + later, superseded_after=None)
        )


def literal_micros() -> Any:
    """Different for the messages of a conversation, and less than a millisecond."""
    return (message_table.c.position % 900) / 1_000_000.0


@pytest.fixture
def versions(chat: Chat, transaction: Transaction) -> Versions:
    return Versions(chat, transaction)


def test_restored_answer_takes_its_continuation_along(versions: Versions) -> None:
    versions.turn("q1", "a1", "kept")
    versions.turn("q2", "a2")
    assert versions.rewind("q1") == 3
    versions.answer("q1", "b1")
    versions.ask("q3")
    before = conversations.find(versions.chat.connection, None, versions.id)
    assert versions.restore("a1") == (3, 2)
    assert versions.read() == ["q1", "a1", "q2", "a2"]
    assert versions.statuses() == {"a1": "kept", "a2": "completed", "b1": "superseded"}
    after = conversations.find(versions.chat.connection, None, versions.id)
    assert before is not None
    assert after is not None
    assert after.updated_at > before.updated_at
    assert versions.restore("q3") == (2, 3)
    assert versions.read() == ["q1", "b1", "q3"]
    assert versions.restore("a2") == (3, 2)
    assert versions.read() == ["q1", "a1", "q2", "a2"]
    current = runs.find_current(versions.chat.connection, versions.id, versions.rows()["q1"].id)
    assert current is not None
    assert (current.answer, current.answer_status) == ("a1", "stopped")


def test_older_branch_is_restored_up_to_the_place_first(versions: Versions) -> None:
    versions.turn("q1", "a1")
    versions.turn("q2", "a2")
    versions.answer_anew("q2", "b2")
    versions.ask("q3")
    versions.answer_anew("q1", "b1")
    assert versions.restore("a2") == (3, 1)
    assert versions.read() == ["q1", "a1", "q2", "a2"]
    assert versions.statuses() == {"a1": "completed", "a2": "completed", "b1": "superseded", "b2": "superseded"}
    groups = {name: row.superseded_at for name, row in versions.rows().items() if row.superseded_at}
    assert groups["b2"] == groups["q3"] != groups["b1"]
    assert versions.restore("q3") == (2, 1)
    assert versions.read() == ["q1", "a1", "q2", "b2", "q3"]
    assert versions.restore("b1") == (1, 4)
    assert versions.read() == ["q1", "b1"]


def test_search_finds_what_is_live(versions: Versions) -> None:
    entries = text("SELECT count(*) FROM chat_search WHERE id = :id")

    def found(name: str) -> int:
        return int(versions.chat.connection.execute(entries, {"id": versions.rows()[name].id}).scalar_one())

    versions.turn("q", "a")
    versions.answer_anew("q", "b")
    versions.restore("a")
    assert (found("a"), found("b")) == (1, 0)


def test_answer_of_an_edited_question_brings_its_wording_back(versions: Versions) -> None:
    versions.turn("q", "a")
    for number in (2, 3):
        versions.edit("q", f"q{number}")
        versions.answer_anew("q", f"a{number}")
    for answer, wording in (("a2", "q2"), ("a", None), ("a3", "q3"), ("a2", "q2")):
        versions.restore(answer)
        row = versions.rows()["q"]
        assert row.edited_content == wording
        assert (row.edited_at is None) == (wording is None)
        assert versions.read() == ["q", answer]


def test_wording_that_an_answer_stood_below_comes_back_with_it(versions: Versions) -> None:
    """The question was edited and not asked again."""
    versions.turn("q1", "a1")
    versions.turn("q2", "a2")
    versions.answer_anew("q2", "b2")
    versions.edit("q2", "corrected")
    for answer, wording in (("a2", "q2"), ("b2", "corrected"), ("a2", "q2")):
        versions.restore(answer)
        assert versions.wordings()["q2"] == wording
    versions.restore("b2")
    versions.answer_anew("q1", "b1")
    versions.restore("a2")  # the place of it is superseded, too
    assert versions.wordings() == {"q1": "q1", "a1": "a1", "q2": "q2", "a2": "a2"}
    versions.restore("b2")
    assert versions.wordings() == {"q1": "q1", "a1": "a1", "q2": "corrected", "b2": "b2"}


def test_edit_after_which_nothing_was_superseded_is_of_the_same_version(versions: Versions) -> None:
    versions.turn("q1", "a1")
    versions.turn("q2", "a2")
    versions.edit("q2", "q2, spelled right")
    versions.rewind("q1")
    versions.restore("a1")
    assert versions.wordings() == {"q1": "q1", "a1": "a1", "q2": "q2, spelled right", "a2": "a2"}


def test_message_that_is_not_superseded_in_the_conversation_is_not_found(
    versions: Versions, transaction: Transaction
) -> None:
    chat = versions.chat
    versions.turn("q", "a")
    versions.rewind("q")
    live, superseded = versions.rows()["q"].id, versions.rows()["a"].id
    before = conversations.find(chat.connection, None, versions.id)
    for companies, conversation, message in (
        (None, versions.id, live),
        (None, versions.id, uuid4()),
        (None, chat.conversation(), superseded),
        (None, uuid4(), superseded),
        ([uuid4()], versions.id, superseded),
    ):
        with pytest.raises(NotFoundError), transaction() as connection:
            restore(connection, companies, conversation, message)
    assert conversations.find(chat.connection, None, versions.id) == before
    conversations.soft_delete(chat.connection, None, versions.id)
    with pytest.raises(NotFoundError), transaction() as connection:
        restore(connection, None, versions.id, superseded)


def test_restore_is_refused_while_an_answer_is_generated(versions: Versions) -> None:
    versions.turn("q", "a")
    versions.rewind("q")
    run = versions.chat.run(versions.id, "active", trigger_message_id=versions.rows()["q"].id)
    with pytest.raises(ConflictError):
        versions.restore("a")
    expired = update(run_table).where(run_table.c.id == run).values(lease_until=func.now() - timedelta(seconds=1))
    versions.chat.connection.execute(expired)
    assert versions.restore("a") == (1, 0)


def test_branch_has_the_wordings_of_its_messages(versions: Versions, transaction: Transaction) -> None:
    versions.turn("q", "a")
    versions.edit("q", "q2")
    versions.answer_anew("q", "a2")
    with transaction() as connection:
        versions.id = branch(connection, None, versions.id, versions.rows()["a2"].id)
    versions.edit("q", "q3")
    versions.answer_anew("q", "a3")
    versions.restore("a2")
    assert versions.wordings() == {"q": "q2", "a2": "a2"}
    versions.restore("a3")
    assert versions.wordings() == {"q": "q3", "a3": "a3"}


# --- any sequence -----------------------------------------------------------------------------------------


class Model:
    """Does anything at random, and knows what was live together."""

    def __init__(self, versions: Versions, seed: int) -> None:
        self.versions = versions
        self.random = random.Random(seed)
        self.names = 0
        self.said: set[str] = set()
        self.last_read: dict[str, list[str]] = {}
        """For each message: what was live when it was live last."""
        self.answered: dict[str, tuple[str, str]] = {}
        """For each answer: its question, and the wording that it answered."""
        self.edits: set[str] = set()

    def new(self, kind: str) -> str:
        self.names += 1
        self.said.add(name := f"{kind}{self.names}")
        return name

    def questions(self) -> list[str]:
        return [name for name in self.versions.read() if name.startswith("q")]

    def ask(self) -> None:
        self.versions.ask(self.new("q"))

    def answer(self) -> None:
        """Answer any question that is not answered, not only the newest."""
        answered = {self.answered[name][0] for name in self.versions.read() if name in self.answered}
        open_questions = [name for name in self.questions() if name not in answered]
        if open_questions:
            self.answer_to(self.random.choice(open_questions))

    def answer_to(self, question: str) -> None:
        name = self.new("a")
        self.answered[name] = (question, self.versions.wordings()[question])
        self.versions.answer(question, name, self.random.choice(["completed", "kept"]))

    def rewind(self) -> None:
        if live := self.versions.read():
            self.versions.rewind(self.random.choice(live))

    def go_back_and_ask(self) -> None:
        self.rewind()
        self.ask()

    def regenerate(self) -> None:
        if questions := self.questions():
            self.versions.rewind(question := self.random.choice(questions))
            self.answer_to(question)

    def edit(self) -> None:
        if questions := self.questions():
            question = self.random.choice(questions)
            self.edits.add(content := self.new("e"))
            self.said.discard(content)
            self.versions.edit(question, content)
            self.versions.rewind(question)
            if self.random.random() < 0.8:
                self.answer_to(question)

    def restore(self) -> None:
        if superseded := sorted(self.said - set(self.versions.read())):
            name = self.random.choice(superseded)
            before = set(self.versions.read())
            restored = self.versions.restore(name)
            live = self.versions.read()
            assert restored == (len(set(live) - before), len(before - set(live)))
            # What was added in between may stand among it, such as the late answer to an earlier question.
            together = self.last_read[name]
            assert [each for each in live if each in together] == together
            assert all(each in before or each in self.answered for each in set(live) - set(together))

    def check(self) -> None:
        rows, live = self.versions.rows(), self.versions.read()
        assert set(rows) == self.said
        for name in live:
            self.last_read[name] = live
        wordings = self.versions.wordings()
        for before, name in pairwise(["", *live]):
            if name in self.answered:
                assert (before, wordings[before]) == self.answered[name]
        statuses = self.versions.statuses()
        for name, status in statuses.items():
            assert (status == "superseded") == (name not in live)
            assert status in ("superseded", {"completed": "completed", "stopped": "kept"}[rows[name].status])
        kept = self.versions.chat.connection.execute(
            select(revision_table.c.content)
            .join(message_table, message_table.c.id == revision_table.c.message_id)
            .where(message_table.c.conversation_id == self.versions.id)
        )
        assert set(kept.scalars()) == self.edits
        groups = {(row.superseded_at, row.superseded_after) for row in rows.values() if row.superseded_at}
        assert len({at for at, _ in groups}) == len(groups)
        assert [row.content for row in messages.history(self.versions.chat.connection, self.versions.id)] == [
            wordings[name] for name in sorted(live, key=lambda each: rows[each].position)
        ]


@pytest.mark.parametrize("seed", range(8))
def test_any_sequence_keeps_all_versions(versions: Versions, seed: int) -> None:
    model = Model(versions, seed)
    steps = [model.ask, model.answer, model.rewind, model.regenerate, model.edit, model.restore]
    for step in model.random.choices(steps, weights=[4, 4, 2, 2, 2, 4], k=45):
        step()
        model.check()


@pytest.mark.parametrize("seed", range(3))
def test_what_older_versions_superseded_is_restored_the_same(versions: Versions, seed: int) -> None:
    model = Model(versions, seed)
    # After each rewind something was said: else what two of them superseded would be restored together.
    steps = [model.ask, model.answer, model.go_back_and_ask, model.regenerate]
    for step in model.random.choices(steps, weights=[4, 4, 2, 2], k=30):
        step()
        model.check()
        versions.forget_groups()
    for _ in range(15):
        model.restore()
        model.check()


def test_many_rewinds_of_older_versions_are_found_out_in_a_short_statement(versions: Versions) -> None:
    """It took time by the square of their number, so that such a conversation could never be restored or erased."""
    count = 8_000
    connection = versions.chat.connection
    connection.execute(
        text(
            "INSERT INTO chat_messages (id, conversation_id, role, content, created_at, position, superseded_at)"
            " SELECT gen_random_uuid(), :id, 'user', n, now() + n * interval '1 s', n,"
            " CASE WHEN n % 2 = 0 THEN now() + n * interval '1 s' + interval '1 ms' END"
            " FROM generate_series(1, :count) AS n"
        ),
        {"id": versions.id, "count": count},
    )
    connection.execute(
        text("UPDATE chat_conversations SET last_position = :count WHERE id = :id"),
        {"id": versions.id, "count": count},
    )
    versions.restore("4")
    rows = versions.rows()
    assert [name for name in versions.read() if int(name) % 2 == 0] == ["4"]
    assert [rows[str(n)].superseded_after for n in (2, 6, 8, count)] == [1, 5, 7, count - 1]
