"""Frequent calls read few rows of large tables: 100,000 messages in 10,000 conversations.

Each call is made as the services make it; the test checks the plan of every statement that it sends. When PostgreSQL
last gathered its statistics, no run was active; now a thousand are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Connection, Engine

from chatserver.ids import uuid7
from chatserver.live.outcomes import Claimed, Committed
from chatserver.live.store import OpenRequest
from chatserver.providers.echo import EchoProvider
from chatserver.services.answer_store import PostgresAnswerStore
from chatserver.services.idempotent_send import IdempotencyKey, send
from chatserver.services.provider_choice import ProviderChoice
from chatserver.storage import (
    bookmarks,
    conversations,
    erase,
    erase_many,
    export,
    frames,
    keyset,
    leases,
    messages,
    questions,
    retention,
    revisions,
    runs,
)
from chatserver.storage.branch import branch
from chatserver.storage.history import read_before
from chatserver.storage.restore import restore
from chatserver.storage.retention import Rule, Rules
from chatserver.storage.rewind import rewind
from chatserver.storage.search import hits
from chatserver.storage.search.terms import parse_terms
from scripts.benchmarks.scale import COMPANY, fill, made_id, message_of
from tests.kit.memory_store import ANYBODY
from tests.storage.answer_stores import new_answer
from tests.storage.plans import OnConnection, nodes_of, plans, read_whole, rows_looked_at, set_session, take_turns

CONVERSATIONS = 10_000
LONG = 2_000
# The rows of a page and those read beside it. Every table has at least some ten thousand rows.
FEW_ROWS = 400

# In conversations that no call is about, and counted for other companies.
ACTIVE_RUNS = 1_000
ADD_ACTIVE_RUNS = """
INSERT INTO chat_runs (id, conversation_id, status, owner, epoch, lease_until, company_id, started_at)
SELECT gen_random_uuid(), id, 'active', gen_random_uuid(), 1, now() + interval '1 hour', gen_random_uuid(), now()
FROM chat_conversations WHERE id BETWEEN %s AND %s
"""

CONVERSATION = made_id("c", 4_321)
MESSAGE = message_of(4_321, 3)
LONG_CONVERSATION = made_id("e", 1)
AGENT = made_id("a", 3)


@pytest.fixture(scope="module")
def engine(engine: Engine, module_database_url: str) -> Engine:
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        fill(connection, CONVERSATIONS, long=LONG, words=(3, 6))
    return engine


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that is rolled back."""
    with engine.execution_options(isolation_level="READ COMMITTED").connect() as connection:
        connection.exec_driver_sql("LOAD 'auto_explain'")
        added = connection.exec_driver_sql(ADD_ACTIVE_RUNS, (made_id("c", 5_001), made_id("c", 5_000 + ACTIVE_RUNS)))
        assert added.rowcount == ACTIVE_RUNS
        yield connection
        connection.rollback()


# --- calls ------------------------------------------------------------------------------------------------


class Answers:
    def __init__(self, connection: Connection, *, company_max_runs: int = 0) -> None:
        self._connection = connection
        database: Any = OnConnection(connection)
        providers = ProviderChoice({}, EchoProvider(), None)
        self.store = PostgresAnswerStore(database, database, providers, uuid7(), 10, company_max_runs=company_max_runs)

    def claim(self) -> Claimed:
        messages.insert_message(
            self._connection, companies=None, conversation_id=CONVERSATION, role="user", content="what?"
        )
        outcome = asyncio.run(self.store.open(OpenRequest([COMPANY], CONVERSATION, askers=ANYBODY))).outcome
        assert isinstance(outcome, Claimed)
        return outcome


def list_conversations(connection: Connection, **criteria: Any) -> keyset.Slice:
    return conversations.list_page(connection, company_id=COMPANY, limit=30, **criteria)


def list_in_the_middle(connection: Connection) -> keyset.Slice:
    row = conversations.find(connection, None, CONVERSATION)
    assert row is not None
    filters = (COMPANY, "false", None, None)
    cursor = keyset.encode("conversations", filters, (False, row.updated_at, row.id))
    page = list_conversations(connection, cursor=cursor)
    assert len(page.rows) == 30
    return page


def list_messages(connection: Connection, conversation: UUID = CONVERSATION, **criteria: Any) -> keyset.Slice:
    found = messages.list_page(connection, [COMPANY], conversation, limit=50, **criteria)
    assert found is not None
    page, company = found
    assert company == COMPANY
    assert page.rows
    return page


def messages_in_the_middle(connection: Connection) -> keyset.Slice:
    cursor = keyset.encode("messages", (LONG_CONVERSATION, "asc", "exclude"), (LONG // 2,))
    return list_messages(connection, LONG_CONVERSATION, cursor=cursor)


def look_for(query: str) -> Callable[[Connection], keyset.Slice]:
    def find(connection: Connection) -> keyset.Slice:
        found = hits.find_hits(connection, company_id=COMPANY, query=query, terms=parse_terms(query), limit=30)
        ids = [hit.entry_id for hit in found.hits]
        return keyset.Slice(hits.read_hits(connection, company_id=COMPANY, entry_ids=ids), found.next_cursor)

    return find


def add(connection: Connection, key: IdempotencyKey | None = None) -> None:
    send(connection, [COMPANY], CONVERSATION, key, role="user", content="what?", agent_id=None)


def commit(connection: Connection) -> None:
    answers = Answers(connection)
    run = answers.claim()
    stored = answers.store.commit(run.run_id, run.epoch, new_answer("that"))
    assert isinstance(asyncio.run(stored), Committed)
    assert runs.find_current(connection, CONVERSATION, None) is None


def hold(connection: Connection) -> None:
    answers = Answers(connection)
    run = answers.claim()
    assert asyncio.run(answers.store.renew([run.run_id]))
    frames.follow(connection, other := uuid7(), [run.run_id])
    events = [frames.FrameRow(run.run_id, run.epoch, 0, 1, "[]")]
    assert frames.write(connection, answers.store._owner, "channel", events) == []
    assert len(frames.look(connection, [run.run_id], [run.epoch], [0])) == 1
    frames.unfollow(connection, other, [run.run_id])
    assert leases.request_stop(connection, CONVERSATION, keep=False) == run.run_id
    asyncio.run(answers.store.set_continues(run.run_id, ANYBODY))
    asyncio.run(answers.store.release(run.run_id))
    asked = {"continues": True, "continues_for": [uuid7()]}
    taken = runs.take_over(connection, run.run_id, owner=uuid7(), lease_seconds=10, wording=None, **asked)
    assert taken is not None
    assert taken.epoch == run.epoch + 1
    asyncio.run(answers.store.end(run.run_id, run.epoch, "dropped"))


def turn_in_batches(connection: Connection) -> None:
    set_session(connection)
    take_turns(connection, [made_id("c", number) for number in range(4_321, 4_326)], AGENT)


def bookmark(connection: Connection) -> None:
    assert bookmarks.add(connection, [COMPANY], CONVERSATION, MESSAGE)
    assert len(bookmarks.list_page(connection, company_id=COMPANY, limit=30).rows) == 1
    assert bookmarks.remove(connection, [COMPANY], CONVERSATION, MESSAGE)


def rewind_and_restore(connection: Connection) -> None:
    newest = list_messages(connection, order="desc").rows[0].id
    assert rewind(connection, [COMPANY], CONVERSATION, MESSAGE)
    assert restore(connection, [COMPANY], CONVERSATION, newest).restored


def erase_conversation(connection: Connection) -> None:
    erase.hide_conversation(connection, [COMPANY], CONVERSATION)
    erase.erase_conversation(connection, [COMPANY], CONVERSATION)


def look_for_old_conversations(connection: Connection) -> None:
    rules = Rules(Rule(1, {COMPANY: 2}), Rule(1, {}))
    given = {"after": made_id("c", 4_000), "end": made_id("c", 4_200)}
    assert erase_many.of_company(connection, COMPANY, **given)
    assert retention.due(connection, rules, **given)


CALLS: dict[str, Callable[[Connection], object]] = {
    "list": list_conversations,
    "list in the middle": list_in_the_middle,
    "list archived": lambda c: list_conversations(c, archived="true"),
    "list all": lambda c: list_conversations(c, archived="all"),
    "list of an agent": lambda c: list_conversations(c, agent_id=AGENT),
    "list of an agent, all": lambda c: list_conversations(c, agent_id=AGENT, archived="all"),
    "list of nobody": lambda c: list_conversations(c, agent_id=uuid4()),
    "get": lambda c: conversations.find(c, [COMPANY], CONVERSATION),
    "create": lambda c: conversations.create(c, company_id=COMPANY, title="a title", agent_id=None),
    "change": lambda c: conversations.change(c, [COMPANY], CONVERSATION, {"title": "another"}),
    "pin": lambda c: conversations.pin(c, [COMPANY], CONVERSATION),
    "archive": lambda c: conversations.archive(c, [COMPANY], CONVERSATION),
    "delete": lambda c: conversations.soft_delete(c, [COMPANY], CONVERSATION),
    "messages": list_messages,
    "messages, newest first": lambda c: list_messages(c, LONG_CONVERSATION, order="desc"),
    "messages in the middle": messages_in_the_middle,
    "messages, superseded too": lambda c: list_messages(c, superseded="include"),
    "history": lambda c: messages.history(c, CONVERSATION),
    "history for a model": lambda c: read_before(c, CONVERSATION, MESSAGE, max_chars=1_000),
    "add": add,
    "add under a key": lambda c: add(c, IdempotencyKey("messages", "key")),
    "edit": lambda c: revisions.edit(c, [COMPANY], CONVERSATION, MESSAGE, "edited"),
    "rewind": lambda c: rewind(c, [COMPANY], CONVERSATION, MESSAGE),
    "restore": rewind_and_restore,
    "erase a message": lambda c: erase.erase_message(c, [COMPANY], CONVERSATION, MESSAGE),
    "erase a conversation": erase_conversation,
    "look for old conversations": look_for_old_conversations,
    "messages of an author": lambda c: erase_many.of_author(c, "nobody", COMPANY),
    "branch": lambda c: branch(c, [COMPANY], CONVERSATION, MESSAGE),
    "newest question": lambda c: questions.find_question(c, [COMPANY], LONG_CONVERSATION, None, newest=True),
    "claim": lambda c: Answers(c).claim(),
    "claim in a bounded company": lambda c: Answers(c, company_max_runs=50).claim(),
    "commit": commit,
    "hold": hold,
    "turn in batches": turn_in_batches,
    "bookmark": bookmark,
    "export": lambda c: export.next_batch(
        c, company_id=COMPANY, conversation_id=CONVERSATION, after=0, last=10, superseded="include"
    ),
    "search": look_for('"w4000"'),
    "search for a word that nobody said": look_for("nobody"),
}

# --- tests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planning", ["auto", "force_generic_plan"])
@pytest.mark.parametrize("name", CALLS)
def test_call_reads_few_rows(connection: Connection, name: str, planning: str) -> None:
    """Also if PostgreSQL plans a statement once for all values, as it may do for prepared statements."""
    connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {planning}")
    with plans(connection) as explained:
        CALLS[name](connection)
    assert explained
    for plan in explained:
        assert read_whole(plan) == set(), plan["Query Text"]
        for node in nodes_of(plan["Plan"]):
            if "Relation Name" in node:
                assert rows_looked_at(node) <= FEW_ROWS, (node, plan["Query Text"])


def test_search_for_abandoned_runs_reads_only_the_active_ones(connection: Connection) -> None:
    with plans(connection) as explained:
        leases.abandoned(connection)
    assert read_whole(explained[0]) == set()
    assert max(map(rows_looked_at, nodes_of(explained[0]["Plan"]))) <= ACTIVE_RUNS


def test_call_that_reads_many_rows_is_found(connection: Connection) -> None:
    with plans(connection) as explained:
        connection.exec_driver_sql("SELECT count(*) FROM chat_messages")
    assert read_whole(explained[0]) == {"chat_messages"}
    assert max(map(rows_looked_at, nodes_of(explained[0]["Plan"]))) > FEW_ROWS


def indexes_of_search(connection: Connection, query: str) -> set[str]:
    """The indexes that a search uses to find hits."""
    connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")  # a search overrides this
    with plans(connection) as explained:
        assert look_for(query)(connection).rows
    assert [read_whole(plan) for plan in explained] == [set()] * len(explained)
    names = {node["Index Name"] for plan in explained for node in nodes_of(plan["Plan"]) if "Index Name" in node}
    return names & {"ix_chat_search_vector", "ix_chat_search_newest"}


@pytest.mark.parametrize("query", ['"w4000"', '"w300"', "w123", '"w40" "w50"', '"w30 w40"', '"w200" -w1'])
def test_rare_words_are_found_by_their_index(connection: Connection, query: str) -> None:
    assert indexes_of_search(connection, query) == {"ix_chat_search_vector"}


def test_very_common_words_are_found_among_the_newest_entries(connection: Connection) -> None:
    assert indexes_of_search(connection, '"w1"') == {"ix_chat_search_newest"}
