"""Turns in batches: what they carry out by themselves, and that they leave out all that is not surely theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import Connection, Engine, func, select, update

from chatserver.errors import DatabaseUnavailableError, UnavailableError
from chatserver.ids import uuid7
from chatserver.live.outcomes import NOBODY, Claimed, RunKey
from chatserver.live.store import NewMessage, OpenRequest
from chatserver.metrics import Metrics
from chatserver.providers.base import Turn
from chatserver.schemas import CreateMessage
from chatserver.services.access import Actor
from chatserver.services.answer_store import PostgresAnswerStore
from chatserver.services.conversations import ConversationService
from chatserver.services.provider_choice import ProviderChoice
from chatserver.services.turns import Turns
from chatserver.storage import agents, conversations, revisions
from chatserver.storage.answers import Answer, commit
from chatserver.storage.postgres.database import Database
from chatserver.storage.questions import lock_conversation
from chatserver.storage.rewind import rewind
from chatserver.storage.tables import conversations as conversation_table
from chatserver.storage.tables import messages as message_table
from chatserver.storage.tables import runs as run_table
from chatserver.storage.tables import sent_keys
from chatserver.storage.turns.statements import SESSION_SETTINGS
from tests.kit.memory_store import ANYBODY
from tests.storage.answer_stores import NamedProvider, new_answer
from tests.storage.conftest import Chat

Transaction = Callable[[], AbstractContextManager[Connection]]
ADAPTERS: dict[str, dict[str, Any]] = {
    "echo": {"adapter_type": "echo", "adapter_config": {}},
    "main": {"adapter_type": "llm", "adapter_config": {"provider": "main", "systemPrompt": "Be brief."}},
    "unknown": {"adapter_type": "llm", "adapter_config": {"provider": "main", "temperature": "hot"}},
    "gone": {"adapter_type": "llm", "adapter_config": {"provider": "gone"}},
    "own": {"adapter_type": "llm", "adapter_config": {"provider": "own"}},
}
ITS_COMPANY = uuid4()
"""The only company that may use the provider `own`."""


class Process:
    """What a process has for turns; the general way, too."""

    def __init__(self, url: str, *, pooled: bool = False) -> None:
        def database(**more: Any) -> Database:
            return Database(
                url, connections=5, statement_timeout_seconds=10, metrics=Metrics("0"), pooled=pooled, **more
            )

        self.default = NamedProvider(needs_user_turn=True)
        self.echo = NamedProvider(needs_user_turn=False)
        self.main = NamedProvider(needs_user_turn=True)
        self.own = NamedProvider(needs_user_turn=True)
        given = {"default": self.default, "main": self.main, "own": self.own}
        providers = ProviderChoice(given, self.echo, "default", {"own": [ITS_COMPANY]})
        self.owner = uuid7()
        self.general, self.batches = database(), database(session_settings=SESSION_SETTINGS)
        self.turns = Turns(self.batches, providers, self.owner, 10)
        self.store = PostgresAnswerStore(self.general, self.general, providers, self.owner, 10, self.turns)
        no_answers: Any = None
        self.conversations = ConversationService(self.general, no_answers, self.turns)

    def close(self) -> None:
        self.general.close()
        self.batches.close()

    async def add(self, conversation_id: UUID, content: str = "?", *, key: str | None = None) -> Any:
        """Add a message in a batch, and not on the general way."""
        return await self.turns.add_message(None, conversation_id, key, role="user", content=content, agent_id=None)

    async def claim(self, conversation_id: UUID, trigger_id: UUID | None = None, **more: Any) -> Claimed | None:
        """Claim an answer in a batch, and not on the general way."""
        opened = await self.turns.open(OpenRequest(None, conversation_id, trigger_id, **more))
        if opened is None:
            return None
        assert isinstance(opened.outcome, Claimed)
        assert opened.key.conversation_id == conversation_id
        return opened.outcome

    async def commit(self, run: Claimed, text: str = "So.", *, kept: bool = False) -> UUID | None:
        """Commit an answer in a batch, and not on the general way; its id."""
        message_id = uuid7()
        answer = Answer(run.run_id, run.epoch, message_id, text, kept, *(None, None), None, "stop", *(None, None, None))
        stored = await self.turns.commit(answer)
        return message_id if stored else None


@pytest.fixture(params=[False, True], ids=["direct", "pooled"])
def process(request: pytest.FixtureRequest, module_database_url: str) -> Iterator[Process]:
    process = Process(module_database_url, pooled=request.param)
    yield process
    process.close()


@pytest.fixture
def conversation(chat: Chat) -> UUID:
    """A conversation with a title."""
    return chat.conversation("Title")


def rows(connection: Connection, table: Any, conversation_id: UUID) -> list[Any]:
    order = table.c.position if table is message_table else table.c.started_at
    found = select(table).where(table.c.conversation_id == conversation_id).order_by(order)
    return list(connection.execute(found).all())


def title_of(connection: Connection, conversation_id: UUID) -> str | None:
    row = conversations.find(connection, None, conversation_id)
    assert row is not None
    title: str | None = row.title
    return title


# --- the common case --------------------------------------------------------------------------------------


async def test_whole_turn_goes_in_batches(process: Process, connection: Connection, conversation: UUID) -> None:
    added = await process.add(conversation, "Why?")
    run = await process.claim(conversation, added.message.message_id, askers=ANYBODY)
    assert run is not None
    assert (run.epoch, run.provider, run.prompt.turns) == (1, process.default, (Turn("user", "Why?"),))
    assert (run.askers, run.history_chars) == (ANYBODY, process.default.max_prompt_chars - len("Why?"))
    answer_id = await process.commit(run)
    question, answer = rows(connection, message_table, conversation)
    assert (question.id, question.position, question.created_at) == (added.message.message_id, 1, added.created_at)
    assert (answer.id, answer.position, answer.reply_to) == (answer_id, 2, question.id)
    assert (answer.role, answer.content, answer.status) == ("assistant", "So.", "completed")
    (row,) = rows(connection, run_table, conversation)
    assert (row.id, row.status, row.owner, row.answer_message_id) == (run.run_id, "completed", process.owner, answer_id)
    moved = connection.execute(select(conversation_table).where(conversation_table.c.id == conversation)).one()
    assert (moved.last_position, moved.updated_at, moved.title) == (2, answer.created_at, "Title")


async def test_committed_answers_are_the_same_on_both_ways(
    process: Process, connection: Connection, chat: Chat, transaction: Transaction
) -> None:
    """Whatever is known of an answer, and whatever else is committed in the same batch."""
    thoughts = (None, ('hm\n\\"NULL', 5))
    choices = product((False, True), (None, (3, 4)), (None, "m{,}"), ("stop", None), (None, 7), thoughts)
    made = [(chat.conversation("Title"), chat.conversation("Title"), choice) for choice in choices]

    def answer(run: Claimed, choice: Any) -> Answer:
        kept, usage, model, stop_reason, duration_ms, thinking = choice
        counted = usage or (None, None)
        known = (kept, *counted, model, stop_reason, duration_ms, *(thinking or (None, None)))
        return Answer(run.run_id, run.epoch, uuid7(), "So.", *known)

    async def commit_both(batched: UUID, general: UUID, choice: Any) -> None:
        for place in (batched, general):
            await process.add(place)
        one, other = await process.claim(batched), await process.claim(general)
        assert one is not None
        assert other is not None
        assert await process.turns.commit(answer(one, choice))
        with transaction() as own:
            assert commit(own, answer(other, choice), process.owner)

    await asyncio.gather(*(commit_both(*each) for each in made))
    own_columns = {"id", "conversation_id", "created_at", "reply_to"}
    for batched, general, _ in made:
        _, one = rows(connection, message_table, batched)
        _, other = rows(connection, message_table, general)
        assert {name: value for name, value in one._mapping.items() if name not in own_columns} == {
            name: value for name, value in other._mapping.items() if name not in own_columns
        }


async def test_many_turns_of_many_conversations_keep_apart(
    process: Process, connection: Connection, chat: Chat
) -> None:
    places = [chat.conversation("Title") for _ in range(30)]

    async def turn(number: int, place: UUID) -> None:
        await process.add(place, f"question {number}")
        run = await process.claim(place)
        assert run is not None
        assert run.prompt.turns == (Turn("user", f"question {number}"),)
        assert await process.commit(run, f"answer {number}", kept=number % 2 == 0) is not None

    await asyncio.gather(*(turn(number, place) for number, place in enumerate(places)))
    for number, place in enumerate(places):
        question, answer = rows(connection, message_table, place)
        assert (question.content, answer.content) == (f"question {number}", f"answer {number}")
        assert answer.status == ("stopped" if number % 2 == 0 else "completed")


async def test_added_message_is_the_same_on_both_ways(process: Process, chat: Chat) -> None:
    body, actor = CreateMessage(role="user", content="Why?", agent_id=uuid4()), Actor("someone", None)
    general = ConversationService(process.general, process.conversations._answers)
    pages = []
    for service in (process.conversations, general):
        place = chat.conversation()
        message, first = await service.add_message(actor, place, body)
        assert first
        page, _ = await service.list_messages(actor, place)
        assert page.items == [message]
        pages.append(message.model_dump(exclude={"id", "conversation_id", "created_at"}))
    assert pages[0] == pages[1]


async def test_first_user_message_names_a_conversation_without_a_title(
    process: Process, connection: Connection, chat: Chat
) -> None:
    untitled, blank = chat.conversation(), chat.conversation()
    await asyncio.gather(process.add(untitled, "\n First  line \nsecond"), process.add(blank, " \n"))
    assert (title_of(connection, untitled), title_of(connection, blank)) == ("First  line", None)
    await asyncio.gather(process.add(untitled, "another"), process.add(blank, "too late"))
    assert (title_of(connection, untitled), title_of(connection, blank)) == ("First  line", None)
    spoken = chat.conversation()
    await process.turns.add_message(None, spoken, None, role="system", content="You are", agent_id=None)
    assert title_of(connection, spoken) is None


async def test_question_is_added_and_claimed_by_one_statement(
    process: Process, connection: Connection, chat: Chat
) -> None:
    places = [chat.conversation() for _ in range(5)]
    agent_id = uuid4()
    requests = [
        OpenRequest(
            None,
            place,
            message=NewMessage(f"Question {number}", agent_id),
            askers=ANYBODY if number % 2 == 0 else NOBODY,
        )
        for number, place in enumerate(places)
    ]
    opened = await asyncio.gather(*(process.turns.open(request) for request in requests))
    for number, (place, each) in enumerate(zip(places, opened, strict=True)):
        assert each is not None
        assert isinstance(each.outcome, Claimed)
        assert each.outcome.prompt.turns == (Turn("user", f"Question {number}"),)
        ((message,), (run,)) = rows(connection, message_table, place), rows(connection, run_table, place)
        assert each.key == RunKey(chat.company, place, message.id)
        assert (message.content, message.role, message.position) == (f"Question {number}", "user", 1)
        assert (run.id, run.trigger_message_id, run.agent_id) == (each.outcome.run_id, message.id, agent_id)
        assert (run.continues, bool(each.outcome.askers)) == (number % 2 == 0, number % 2 == 0)
        assert title_of(connection, place) == f"Question {number}"
        assert await process.commit(each.outcome) is not None


async def test_question_that_cannot_be_answered_now_is_not_added(
    process: Process, connection: Connection, chat: Chat, transaction: Transaction
) -> None:
    busy, deleted, gone, locked, keyed, foreign = (chat.conversation("Title") for _ in range(6))
    chat.run(busy, "active")
    assert conversations.soft_delete(connection, None, deleted)
    agent_id = agent(connection, chat, "gone")
    key = "k"
    requests = [
        OpenRequest(None, busy, message=NewMessage("?")),
        OpenRequest(None, deleted, message=NewMessage("?")),
        OpenRequest(None, gone, message=NewMessage("?", agent_id)),
        OpenRequest(None, gone, message=NewMessage(" ")),
        OpenRequest(None, locked, message=NewMessage("?")),
        OpenRequest(None, keyed, message=NewMessage("?", None, key)),
        OpenRequest([uuid4()], foreign, message=NewMessage("?")),
    ]
    with transaction() as locker:
        assert lock_conversation(locker, locked)
        assert await asyncio.gather(*map(process.turns.open, requests)) == [None] * len(requests)
    for place in (busy, deleted, gone, locked, keyed, foreign):
        assert rows(connection, message_table, place) == []
        assert len(rows(connection, run_table, place)) == (place == busy)


# --- agents -----------------------------------------------------------------------------------------------


def agent(connection: Connection, chat: Chat, kind: str) -> UUID:
    row = agents.create(connection, company_id=chat.company, name=kind, **ADAPTERS[kind])
    return UUID(str(row.id))


async def test_agent_of_the_message_or_else_of_the_conversation_answers(
    process: Process, connection: Connection, chat: Chat
) -> None:
    echo, main = agent(connection, chat, "echo"), agent(connection, chat, "main")
    conversation = chat.conversation("Title", agent_id=echo)
    chat.say(conversation, "?")
    run = await process.claim(conversation)
    assert run is not None
    assert (run.provider, run.history_chars) == (process.echo, 0)
    await process.commit(run)
    chat.say(conversation, "?", agent_id=main)
    run = await process.claim(conversation)
    assert run is not None
    assert (run.provider, run.prompt.system) == (process.main, "Be brief.")
    assert [row.agent_id for row in rows(connection, run_table, conversation)] == [echo, main]


async def test_deleted_agent_and_one_of_another_company_are_not_registered(
    process: Process, connection: Connection, chat: Chat
) -> None:
    deleted = agent(connection, chat, "main")
    assert agents.soft_delete(connection, None, deleted)
    foreign = agent(connection, Chat(connection, uuid4()), "main")
    for agent_id in (deleted, foreign, uuid4()):
        conversation = chat.conversation("Title", agent_id=agent_id)
        chat.say(conversation, "?")
        run = await process.claim(conversation)
        assert run is not None
        assert run.provider is process.default


async def test_agent_whose_provider_is_gone_is_refused_and_leaves_no_run(
    process: Process, connection: Connection, chat: Chat
) -> None:
    conversation = chat.conversation("Title", agent_id=agent(connection, chat, "gone"))
    chat.say(conversation, "?")
    assert await process.claim(conversation) is None
    with pytest.raises(UnavailableError):
        await process.store.open(OpenRequest(None, conversation))
    assert rows(connection, run_table, conversation) == []


async def test_provider_of_one_company_answers_there_in_batches_and_nowhere_else(
    process: Process, connection: Connection, chat: Chat
) -> None:
    its = Chat(connection, ITS_COMPANY)
    there = its.conversation("Title", agent_id=agent(connection, its, "own"))
    its.say(there, "?")
    run = await process.claim(there)
    assert run is not None
    assert run.provider is process.own
    here = chat.conversation("Title", agent_id=agent(connection, chat, "own"))
    chat.say(here, "?")
    assert await process.claim(here) is None
    with pytest.raises(UnavailableError):
        await process.store.open(OpenRequest(None, here))
    assert rows(connection, run_table, here) == []


async def test_agent_whose_settings_are_unknown_leaves_no_active_run(
    process: Process, connection: Connection, chat: Chat
) -> None:
    conversation = chat.conversation("Title", agent_id=agent(connection, chat, "unknown"))
    chat.say(conversation, "?")
    for message in (None, NewMessage("!")):
        with pytest.raises(ValidationError):
            await process.store.open(OpenRequest(None, conversation, message=message, askers=ANYBODY))
        assert {row.status for row in rows(connection, run_table, conversation)} == {"dropped"}


@pytest.mark.parametrize("blank", ["", " \n\t", "\u3000\u2003\x1f\x85"], ids=["empty", "ascii", "unicode"])
async def test_blank_question_is_claimed_for_an_echo_only(
    process: Process, connection: Connection, chat: Chat, blank: str
) -> None:
    for kind, claimed in (("echo", True), ("main", False), (None, False)):
        conversation = chat.conversation("Title", agent_id=kind and agent(connection, chat, kind))
        chat.say(conversation, blank)
        assert (await process.claim(conversation) is not None) is claimed
    process.default.needs_user_turn = False
    assert await process.claim(conversation) is None, "the default was asked when the process began"


# --- what is left out -------------------------------------------------------------------------------------


async def test_what_is_locked_is_left_out_without_waiting(
    process: Process, chat: Chat, conversation: UUID, transaction: Transaction
) -> None:
    other = chat.conversation("Title")
    chat.say(conversation, "?")
    with transaction() as locker:
        assert lock_conversation(locker, conversation)
        added, left_out, claimed = await asyncio.gather(
            process.add(other), process.add(conversation), process.claim(conversation)
        )
        assert (added is not None, left_out, claimed) == (True, None, None)
    run = await process.claim(conversation)
    assert run is not None
    with transaction() as locker:
        locker.execute(select(run_table.c.id).where(run_table.c.id == run.run_id).with_for_update())
        assert await process.commit(run) is None
    with transaction() as locker:
        assert lock_conversation(locker, conversation)
        assert await process.commit(run) is None
    assert await process.commit(run) is not None


async def test_batch_leaves_out_only_those_that_are_not_of_the_common_case(
    process: Process, connection: Connection, chat: Chat
) -> None:
    places = [chat.conversation("Title") for _ in range(4)]
    for place in places:
        chat.say(place, "?")
    assert conversations.soft_delete(connection, None, places[1])
    own, foreign = frozenset({chat.company}), frozenset({uuid4()})

    def add(place: UUID, companies: Any) -> Any:
        scope = None if companies is None else tuple(companies)
        return process.turns.add_message(scope, place, None, role="user", content="!", agent_id=None)

    asked = [(places[0], own), (places[1], own), (places[2], foreign), (places[3], ()), (uuid4(), None)]
    results = await asyncio.gather(*(add(*each) for each in asked))
    assert [result is not None for result in results] == [True, False, False, False, False]
    requests = [OpenRequest(companies, place) for place, companies in asked]
    opened = await asyncio.gather(*(process.turns.open(request) for request in requests))
    assert [each is not None for each in opened] == [True, False, False, False, False]


async def test_claim_needs_a_live_user_message_without_an_answer_and_no_other_run(
    process: Process, connection: Connection, chat: Chat, conversation: UUID
) -> None:
    assert await process.claim(conversation) is None, "there is no question"
    question, system = chat.say(conversation, "?"), chat.say(conversation, "!", "system")
    foreign = chat.say(chat.conversation(), "?")
    for wrong in (system.id, foreign.id, uuid4()):
        assert await process.claim(conversation, wrong) is None
    run = await process.claim(conversation, question.id)
    assert run is not None
    for trigger in (question.id, None, chat.say(conversation, "And?").id):
        assert await process.claim(conversation, trigger) is None, "an answer is being generated"
    await process.commit(run)
    assert await process.claim(conversation, question.id) is None, "it has an answer"
    rewind(connection, None, conversation, question.id)
    assert await process.claim(conversation, question.id) is not None


async def test_commit_needs_the_epoch_the_owner_and_the_conversation(
    process: Process, connection: Connection, chat: Chat, module_database_url: str
) -> None:
    conversation = chat.conversation("Title")
    chat.say(conversation, "?")
    run = await process.claim(conversation)
    assert run is not None
    other = Process(module_database_url)
    try:
        assert await other.commit(run) is None
    finally:
        other.close()
    connection.execute(update(run_table).where(run_table.c.id == run.run_id).values(epoch=2))
    assert await process.commit(run) is None
    connection.execute(update(run_table).where(run_table.c.id == run.run_id).values(epoch=1))
    conversations.soft_delete(connection, None, conversation)
    assert await process.commit(run) is None
    assert len(rows(connection, message_table, conversation)) == 1
    conversations.restore(connection, None, conversation)
    assert await process.commit(run) is not None
    assert await process.commit(run) is None
    assert len(rows(connection, message_table, conversation)) == 2


# --- idempotency keys -------------------------------------------------------------------------------------


async def test_message_with_a_key_is_added_in_a_batch_and_only_once(
    process: Process, connection: Connection, conversation: UUID
) -> None:
    added = await process.add(conversation, "Why?", key="k")
    assert added is not None
    assert await process.add(conversation, "Why?", key="k") is None
    body, actor = CreateMessage(role="user", content="Why?", agent_id=None), Actor("someone", None)
    message, first = await process.conversations.add_message(actor, conversation, body, "k")
    assert (message.id, first) == (added.message.message_id, False)
    assert await process.add(conversation, "Why?", key="l") is not None
    assert len(rows(connection, message_table, conversation)) == 2


async def test_one_key_sent_at_once_on_both_ways_adds_one_message(
    process: Process, connection: Connection, chat: Chat
) -> None:
    body, actor = CreateMessage(role="user", content="Why?", agent_id=None), Actor("someone", None)
    general = ConversationService(process.general, process.conversations._answers)
    for number in range(10):
        conversation = chat.conversation("Title")
        services = [process.conversations, general, process.conversations, general]
        sent = await asyncio.gather(
            *(service.add_message(actor, conversation, body, f"key {number}") for service in services)
        )
        assert len({message.id for message, _ in sent}) == 1
        assert [first for _, first in sent].count(True) == 1
        assert len(rows(connection, message_table, conversation)) == 1


async def test_expired_keys_are_removed_by_the_next_ones(
    process: Process, connection: Connection, chat: Chat, conversation: UUID
) -> None:
    old = chat.conversation("Old")
    for number in range(12):
        assert await process.add(old, key=f"old {number}") is not None
    hours_ago = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 26)
    connection.execute(update(sent_keys).where(sent_keys.c.conversation_id == old).values(created_at=hours_ago))
    assert await process.add(conversation) is not None
    count = select(func.count()).select_from(sent_keys).where(sent_keys.c.conversation_id == old)
    assert connection.execute(count).scalar_one() == 12, "a message without a key pays for none"
    for number in range(2):
        assert await process.add(conversation, key=f"new {number}") is not None
    assert connection.execute(count).scalar_one() == 0


# --- races ------------------------------------------------------------------------------------------------


@pytest.fixture
def gated_agents(engine: Engine) -> Iterator[Engine]:
    """`agents` is a view that is read only while nobody holds the advisory lock 1: a claim that has its snapshot, and
    no locks yet, waits there.
    """
    with engine.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE agents RENAME TO agents_behind")
        connection.exec_driver_sql(
            "CREATE FUNCTION pass() RETURNS boolean LANGUAGE sql VOLATILE AS"
            " $$ SELECT pg_advisory_lock_shared(1) IS NOT NULL AND pg_advisory_unlock_shared(1) $$"
        )
        connection.exec_driver_sql("CREATE VIEW agents AS SELECT * FROM agents_behind WHERE pass()")
        yield engine
        connection.exec_driver_sql("DROP VIEW agents")
        connection.exec_driver_sql("DROP FUNCTION pass()")
        connection.exec_driver_sql("ALTER TABLE agents_behind RENAME TO agents")


def wait_at_the_gate(connection: Connection) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    for _ in range(10_000):
        if connection.exec_driver_sql(waiting).scalar_one():
            return
    raise AssertionError("no claim has come to the gate")


def _rewind(connection: Connection, chat: Chat, conversation: UUID) -> None:
    rewind(connection, None, conversation, chat.first.id)  # type: ignore[attr-defined]


def _delete(connection: Connection, _: Chat, conversation: UUID) -> None:
    assert conversations.soft_delete(connection, None, conversation)


def _ask(_: Connection, chat: Chat, conversation: UUID) -> None:
    chat.say(conversation, "a newer question")


def _edit(connection: Connection, chat: Chat, conversation: UUID) -> None:
    assert revisions.edit(connection, None, conversation, chat.newest.id, "changed")  # type: ignore[attr-defined]


def _claim_elsewhere(_: Connection, chat: Chat, conversation: UUID) -> None:
    chat.run(conversation, "active", trigger_message_id=uuid4())


def _nothing(_: Connection, __: Chat, ___: UUID) -> None: ...


@pytest.mark.parametrize("asks", [False, True], ids=["claims", "asks"])
@pytest.mark.parametrize("change", [_rewind, _delete, _ask, _edit, _claim_elsewhere, _nothing])
async def test_claim_leaves_out_a_conversation_that_changed_after_its_snapshot(
    gated_agents: Engine, module_database_url: str, connection: Connection, chat: Chat, change: Any, asks: bool
) -> None:
    conversation = chat.conversation("Title", agent_id=agent(connection, chat, "echo"))
    chat.first, chat.newest = chat.say(conversation, "first"), chat.say(conversation, "?")  # type: ignore[attr-defined]
    process = Process(module_database_url)
    try:
        with gated_agents.connect() as gate:
            gate.exec_driver_sql("SELECT pg_advisory_lock(1)")
            message = NewMessage("asked") if asks else None
            claim = asyncio.ensure_future(process.claim(conversation, message=message))
            await asyncio.to_thread(wait_at_the_gate, connection)
            change(connection, chat, conversation)
            gate.exec_driver_sql("SELECT pg_advisory_unlock(1)")
            run = await claim
        assert (run is not None) is (change is _nothing)
        ours = [row for row in rows(connection, run_table, conversation) if row.owner == process.owner]
        assert len(ours) == (change is _nothing)
        contents = [row.content for row in rows(connection, message_table, conversation)]
        assert contents.count("asked") == (asks and change is _nothing)
    finally:
        process.close()


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
async def test_claim_whose_connection_is_lost_is_unavailable_and_the_next_one_goes(
    gated_agents: Engine, module_database_url: str, connection: Connection, chat: Chat, pooled: bool
) -> None:
    conversation = chat.conversation("Title", agent_id=agent(connection, chat, "echo"))
    chat.say(conversation, "?")
    process = Process(module_database_url, pooled=pooled)
    try:
        with gated_agents.connect() as gate:
            gate.exec_driver_sql("SELECT pg_advisory_lock(1)")
            claim = asyncio.ensure_future(process.claim(conversation))
            await asyncio.to_thread(wait_at_the_gate, connection)
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            )
            with pytest.raises(DatabaseUnavailableError):
                await claim
            gate.exec_driver_sql("SELECT pg_advisory_unlock(1)")
        assert await process.claim(conversation) is not None
    finally:
        process.close()


async def test_long_texts_go_the_general_way(process: Process, connection: Connection, conversation: UUID) -> None:
    assert await process.add(conversation, "x" * 100_000) is None
    body, actor = CreateMessage(role="user", content="x" * 100_000, agent_id=None), Actor("someone", None)
    await process.conversations.add_message(actor, conversation, body)
    assert await process.claim(conversation) is None
    run = (await process.store.open(OpenRequest(None, conversation))).outcome
    assert isinstance(run, Claimed)
    assert await process.commit(run, "y" * 100_000) is None
    await process.store.commit(run.run_id, run.epoch, new_answer("y" * 100_000))
    assert [len(row.content) for row in rows(connection, message_table, conversation)] == [100_000, 100_000]


async def test_messages_that_are_added_at_once_on_both_ways_all_count(
    process: Process, connection: Connection, chat: Chat
) -> None:
    places = [chat.conversation("Title") for _ in range(3)]
    body, actor = CreateMessage(role="user", content="?", agent_id=None), Actor("someone", None)
    general = ConversationService(process.general, process.conversations._answers)
    await asyncio.gather(
        *(
            service.add_message(actor, place, body)
            for _ in range(25)
            for place in places
            for service in (process.conversations, general)
        )
    )
    for place in places:
        assert [row.position for row in rows(connection, message_table, place)] == list(range(1, 51))


async def test_one_of_many_claims_of_many_processes_wins_and_the_answer_is_stored_once(
    connection: Connection, chat: Chat, module_database_url: str
) -> None:
    processes = [Process(module_database_url) for _ in range(3)]
    try:
        for _ in range(10):
            conversation = chat.conversation("Title")
            chat.say(conversation, "?")
            request = OpenRequest(None, conversation)
            opened = await asyncio.gather(*(process.store.open(request) for process in processes))
            ((process, run),) = (
                (process, each.outcome)
                for process, each in zip(processes, opened, strict=True)
                if isinstance(each.outcome, Claimed)
            )
            answer = new_answer()
            await asyncio.gather(*(process.store.commit(run.run_id, run.epoch, answer) for _ in range(3)))
            assert [row.id for row in rows(connection, message_table, conversation)][1:] == [answer.message_id]
    finally:
        for each in processes:
            each.close()
