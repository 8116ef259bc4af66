"""How long each call takes in a large database: 1,000,000 messages in 100,000 conversations.

    .venv/bin/python -m scripts.benchmarks.scale [--conversations N] [--rounds N] [--data-dir FOLDER]

Makes an embedded PostgreSQL with made-up messages, whose words are as common and as rare as those of a language, and
calls the services as the handlers do; the figures are without the cost of HTTP. docs/growth.md explains them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from chatserver.app import App
from chatserver.ids import uuid7
from chatserver.live.outcomes import Claimed, Committed
from chatserver.live.store import NewAnswer, OpenRequest
from chatserver.schemas import CreateConversation, CreateMessage, UpdateConversation
from chatserver.services.access import local_actor
from chatserver.services.answer_store import PostgresAnswerStore
from chatserver.services.idempotent_send import IdempotencyKey
from chatserver.services.search import SearchPage
from chatserver.settings import Settings
from chatserver.storage.postgres.embedded import EmbeddedPostgres
from chatserver.storage.postgres.migrate import upgrade
from scripts.benchmarks.figures import number, print_table, quantile
from scripts.benchmarks.machine import description

COMPANY = UUID("00000000-0000-4000-8000-000000000001")
MESSAGES_EACH = 10
# Conversations that go on at the same time, so that their messages are interleaved in the table.
AT_ONCE = 100
VOCABULARY = 30_000
AGENTS = 10

# --- data -------------------------------------------------------------------------------------------------

# The word of rank n is 1/n times as common as the first, as in languages (Zipf's law); `w1` is the commonest.
FUNCTIONS = f"""
CREATE FUNCTION pg_temp.words(how_many int, seed bigint) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT string_agg('w' || floor(exp(random() * ln({VOCABULARY})))::int, ' ')
    FROM generate_series(1, how_many + seed * 0)
$$;
CREATE FUNCTION pg_temp.id(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(1700000000000 + n * 1000), 12, '0') || '7' || kind || '008000'
        || lpad(to_hex(n), 12, '0'))::uuid
$$;
CREATE FUNCTION pg_temp.moment(n bigint, total bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT '2026-01-01T00:00:00Z'::timestamptz - (total - n) * interval '30 seconds'
$$;
SELECT setseed(0.5);
"""  # noqa: S608 - our own constants

# Nine of ten conversations belong to one company, the others to a hundred small ones. One in ten is archived, one in
# fifty deleted, one in a thousand pinned; half have an agent, a third have a title.
CONVERSATIONS = f"""
INSERT INTO chat_conversations
    (id, company_id, title, agent_id, pinned_at, archived_at, deleted_at, created_at, updated_at, last_position)
SELECT pg_temp.id('c', n),
    CASE WHEN n %% 10 > 0 THEN %(company)s::uuid ELSE pg_temp.id('0', n %% 1000) END,
    CASE WHEN n %% 3 = 0 THEN pg_temp.words(4, n) END,
    CASE WHEN n %% 2 = 0 THEN pg_temp.id('a', n / 2 %% {AGENTS}) END,
    CASE WHEN n %% 1000 = 1 THEN pg_temp.moment(n, %(conversations)s) END,
    CASE WHEN n %% 10 = 5 THEN pg_temp.moment(n, %(conversations)s) END,
    CASE WHEN n %% 50 = 3 THEN pg_temp.moment(n, %(conversations)s) END,
    pg_temp.moment(n, %(conversations)s), pg_temp.moment(n, %(conversations)s), {MESSAGES_EACH}
FROM generate_series(1, %(conversations)s) AS n
"""  # noqa: S608 - our own constants

# Questions and answers in turns; one message in thirty was superseded, one in fifty edited.
MESSAGES = f"""
INSERT INTO chat_messages
    (id, conversation_id, role, content, created_at, position, reply_to, superseded_at, edited_content, edited_at)
SELECT pg_temp.id('b', n), pg_temp.id('c', conversation), CASE WHEN position %% 2 = 1 THEN 'user' ELSE 'assistant' END,
    pg_temp.words(CASE WHEN position %% 2 = 1 THEN %(short)s ELSE %(long)s END, n),
    pg_temp.moment(conversation, %(conversations)s) + position * interval '1 minute', position,
    CASE WHEN position %% 2 = 0 THEN pg_temp.id('b', n - {AT_ONCE}) END,
    CASE WHEN n %% 30 = 0 THEN now() END,
    CASE WHEN n %% 50 = 7 THEN pg_temp.words(%(short)s, n) END, CASE WHEN n %% 50 = 7 THEN now() END
FROM generate_series(0, %(conversations)s * {MESSAGES_EACH} - 1) AS n,
    LATERAL (SELECT n / {AT_ONCE * MESSAGES_EACH} * {AT_ONCE} + n %% {AT_ONCE} + 1 AS conversation,
        n / {AT_ONCE} %% {MESSAGES_EACH} + 1 AS position) AS place
ORDER BY n
"""  # noqa: S608 - our own constants

LONG_CONVERSATION = """
INSERT INTO chat_conversations (id, company_id, title, created_at, updated_at, last_position)
VALUES (pg_temp.id('e', 1), %(company)s, 'long', now(), now(), %(messages)s);
"""

LONG_MESSAGES = """
INSERT INTO chat_messages (id, conversation_id, role, content, created_at, position)
SELECT pg_temp.id('d', n), pg_temp.id('e', 1), CASE WHEN n %% 2 = 1 THEN 'user' ELSE 'assistant' END,
    pg_temp.words(CASE WHEN n %% 2 = 1 THEN %(short)s ELSE %(long)s END, n), now(), n
FROM generate_series(1, %(messages)s) AS n
"""

RUNS = """
INSERT INTO chat_runs
    (id, conversation_id, trigger_message_id, status, owner, epoch, lease_until, answer_message_id, started_at,
    ended_at)
SELECT gen_random_uuid(), conversation_id, reply_to,
    CASE WHEN superseded_at IS NULL THEN 'completed' ELSE 'superseded' END, gen_random_uuid(), 1, created_at, id,
    created_at, created_at
FROM chat_messages WHERE reply_to IS NOT NULL
"""

OTHERS = f"""
INSERT INTO agents (id, company_id, name, adapter_type, adapter_config, created_at, updated_at)
SELECT pg_temp.id('a', n), %(company)s, 'Agent ' || n, 'echo', '{{}}', now(), now()
FROM generate_series(0, {AGENTS} - 1) AS n
"""  # noqa: S608 - our own constants

SEARCH = """
INSERT INTO chat_search (id, company_id, conversation_id, of_title, said_at, vector)
SELECT message.id, conversation.company_id, message.conversation_id, false, message.created_at,
    chat_search_words(coalesce(message.edited_content, message.content))
    || array_to_tsvector(ARRAY['@' || conversation.company_id])
FROM chat_messages AS message JOIN chat_conversations AS conversation ON conversation.id = message.conversation_id
WHERE message.superseded_at IS NULL
UNION ALL
SELECT id, company_id, id, true, created_at,
    setweight(chat_search_words(title), 'A') || array_to_tsvector(ARRAY['@' || company_id])
FROM chat_conversations WHERE title IS NOT NULL
"""


def fill(
    connection: psycopg.Connection[Any], conversations: int, *, long: int, words: tuple[int, int] = (12, 80)
) -> None:
    """Put conversations with ten messages each into a migrated database, and a single one with `long` of them.

    `words`: how many a question has, and how many an answer. `connection` is in autocommit.
    """
    values = {
        "company": COMPANY,
        "conversations": conversations,
        "messages": long,
        "short": words[0],
        "long": words[1],
    }
    connection.execute(FUNCTIONS)
    with without_triggers(connection), without_index(connection, "ix_chat_search_vector"):
        for statement in (CONVERSATIONS, MESSAGES, LONG_CONVERSATION, LONG_MESSAGES, RUNS, OTHERS, SEARCH):
            connection.execute(statement, values)
    connection.execute("VACUUM ANALYZE")


@contextmanager
def without_triggers(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Disable the triggers: `fill` does their work in bulk."""
    for table in ("chat_messages", "chat_conversations"):
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    for table in ("chat_messages", "chat_conversations"):
        connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@contextmanager
def without_index(connection: psycopg.Connection[Any], name: str) -> Iterator[None]:
    definition = connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [name]).fetchone()
    assert definition is not None
    connection.execute(f"DROP INDEX {name}")
    yield
    connection.execute(definition[0])


def made_id(kind: str, n: int) -> UUID:
    """The id that `pg_temp.id` makes: `c` conversations, `b` messages, `e` the long conversation, `d` its messages."""
    return UUID(f"{1700000000000 + n * 1000:012x}7{kind}008000{n:012x}")


def message_of(conversation: int, position: int) -> UUID:
    """The id of the message at that position of that conversation; both count from 1."""
    block, place = divmod(conversation - 1, AT_ONCE)
    return made_id("b", block * AT_ONCE * MESSAGES_EACH + (position - 1) * AT_ONCE + place)


# --- calls ------------------------------------------------------------------------------------------------


class Call(NamedTuple):
    name: str
    make: Callable[[], Awaitable[Any]]
    prepare: Callable[[], Awaitable[Any]] | None = None
    """Runs before each call, and is not timed."""


class Calls:
    """The calls that are measured, on random conversations."""

    def __init__(self, app: App, conversations: int, long: int) -> None:
        self._app = app
        self._chat = app.context.conversations
        self._conversations = conversations
        self._long = made_id("e", 1)
        self._long_messages = long
        self._actor = local_actor()
        self._random = random.Random(1)  # noqa: S311 - the same each time
        self._owner = uuid7()
        self._store = PostgresAnswerStore(
            app.database, app.database, app.providers, self._owner, app.settings.lease_seconds
        )
        self._number = 0
        self._claimed: list[Claimed] = []

    def next(self) -> UUID:
        """A random conversation of the company that is not deleted and whose first messages are not superseded."""
        while True:
            self._number = self._random.randrange(1, self._conversations + 1)
            place = (self._number - 1) % AT_ONCE
            if self._number % 10 and self._number % 50 != 3 and place % 10:
                return made_id("c", self._number)

    def message(self, position: int) -> UUID:
        """The id of a message in the conversation that `next` returned last."""
        return message_of(self._number, position)

    # --- lists --------------------------------------------------------------------------------------------

    def _list(self, name: str, **criteria: Any) -> Call:
        return Call(
            f"list conversations{name}", lambda: self._chat.list_conversations(self._actor, COMPANY, **criteria)
        )

    def _messages(self, name: str, conversation: Callable[[], UUID], **criteria: Any) -> Call:
        return Call(f"list messages{name}", lambda: self._chat.list_messages(self._actor, conversation(), **criteria))

    async def _cursor(self, pages: int) -> str:
        cursor = None
        for _ in range(pages):
            page = await self._chat.list_conversations(self._actor, COMPANY, limit=100, cursor=cursor)
            cursor = page.next_cursor
        assert cursor is not None
        return cursor

    async def _messages_cursor(self, pages: int) -> str:
        cursor = None
        for _ in range(pages):
            page = await self._chat.list_messages(self._actor, self._long, limit=200, cursor=cursor)
            cursor = page.next_cursor
        assert cursor is not None
        return cursor

    async def lists(self) -> list[Call]:
        half = await self._cursor(self._conversations // 400)
        middle = await self._messages_cursor(self._long_messages // 400)
        agent = made_id("a", 3)
        return [
            self._list(""),
            self._list(", in the middle", cursor=half),
            self._list(", archived", archived="true"),
            self._list(", all", archived="all"),
            self._list(", of an agent", agent_id=agent),
            self._list(", of no agent at all", agent_id=self._owner),
            self._list(", title has a word", title_contains="w12"),
            self._list(", title found nowhere", title_contains="nowhere"),
            self._messages("", self.next),
            self._messages(", newest first", self.next, order="desc"),
            self._messages(", superseded too", self.next, superseded="include"),
            self._messages(", long, newest first", lambda: self._long, order="desc"),
            self._messages(", long, in the middle", lambda: self._long, limit=200, cursor=middle),
            Call("history for a model, 10 messages", lambda: self._chat.get_message_history(self._actor, self.next())),
        ]

    # --- conversations and messages -----------------------------------------------------------------------

    def changes(self) -> list[Call]:
        chat, actor = self._chat, self._actor
        short, long = " ".join(["word"] * 12), " ".join(f"w{n}" for n in range(200))
        return [
            Call("get a conversation", lambda: chat.get_conversation(actor, self.next())),
            Call("create a conversation", lambda: chat.create_conversation(actor, COMPANY, CreateConversation())),
            Call(
                "rename a conversation",
                lambda: chat.update_conversation(actor, self.next(), UpdateConversation(title="another one")),
            ),
            Call("archive a conversation", lambda: chat.archive_conversation(actor, self.next())),
            Call("pin a conversation", lambda: chat.pin_conversation(actor, self.next())),
            Call(
                "add a question",
                lambda: chat.add_message(actor, self.next(), CreateMessage(role="user", content=short)),
            ),
            Call(
                "add a question under a key",
                lambda: chat.add_message(
                    actor,
                    self.next(),
                    CreateMessage(role="user", content=short),
                    IdempotencyKey("messages", str(uuid7())),
                ),
            ),
            Call(
                "add 200 different words",
                lambda: chat.add_message(actor, self.next(), CreateMessage(role="user", content=long)),
            ),
            Call(
                "edit a message", lambda: chat.edit_message(actor, self.next(), self.message(3), "what was meant, too")
            ),
            Call("rewind by 7 messages", lambda: chat.rewind_messages(actor, self.next(), self.message(3))),
            Call("branch 3 messages off", lambda: chat.branch_conversation(actor, self.next(), self.message(3))),
        ]

    # --- answers ------------------------------------------------------------------------------------------

    def answers(self) -> list[Call]:
        return [
            Call("claim the answer to the newest question", self._claim, self._ask),
            Call("commit an answer of 80 words", self._commit, self._ask_and_claim),
        ]

    async def _ask(self) -> None:
        while self._claimed:
            run = self._claimed.pop()
            await self._store.end(run.run_id, run.epoch, "dropped")
        body = CreateMessage(role="user", content="what is it?")
        self._asked = await self._chat.add_message(self._actor, self.next(), body)

    async def _claim(self) -> None:
        opened = await self._store.open(OpenRequest(None, self._asked[0].conversation_id))
        assert isinstance(opened.outcome, Claimed)
        self._claimed.append(opened.outcome)

    async def _ask_and_claim(self) -> None:
        await self._ask()
        await self._claim()

    async def _commit(self) -> None:
        run = self._claimed.pop()
        text = " ".join(f"w{int(2.7 ** (self._random.random() * 10))}" for _ in range(80))
        answer = NewAnswer(uuid7(), text, False, None, "stop", model="main", duration_ms=4_000, reasoning=None)
        committed = await self._store.commit(run.run_id, run.epoch, answer)
        assert isinstance(committed, Committed)

    # --- search and bookmarks -----------------------------------------------------------------------------

    def _search(self, name: str, query: str, cursor: str | None = None) -> Call:
        return Call(
            f"search {name}",
            lambda: self._hits(query, cursor),
        )

    async def _hits(self, query: str, cursor: str | None = None) -> SearchPage:
        """The last of the pages that one request gets."""
        pages = [page async for page in self._app.context.search.search(self._actor, COMPANY, query, cursor=cursor)]
        return pages[-1]

    async def searches(self) -> list[Call]:
        first = await self._hits('"w30"')
        return [
            self._search("a rare word", '"w20000"'),
            self._search("a word in 1 % of the messages", '"w400"'),
            self._search("a word in 10 %", '"w30"'),
            self._search("the same, second page", '"w30"', first.next_cursor),
            self._search("the commonest word, in two thirds", '"w1"'),
            self._search("three words", '"w20" "w50" "w100"'),
            self._search("a phrase", '"w20 w30"'),
            self._search("a word without another", '"w100" -w1'),
            self._search("the beginning of a word", "w123"),
            self._search("the beginning of every word", "w1"),
            self._search("a word that nobody said", "nobody"),
        ]

    def bookmarks(self) -> list[Call]:
        bookmarks = self._app.context.bookmarks
        return [
            Call("bookmark a message", lambda: bookmarks.add_bookmark(self._actor, self.next(), self.message(1))),
            Call("list bookmarks", lambda: bookmarks.list_bookmarks(self._actor, COMPANY)),
        ]

    async def export(self) -> float:
        """Seconds for the long conversation as JSON."""
        started = time.perf_counter()
        export = await self._app.context.export.open_export(self._actor, self._long, "json")
        async for _ in export.chunks():
            pass
        return time.perf_counter() - started


async def measure(app: App, conversations: int, long: int, rounds: int) -> None:
    calls = Calls(app, conversations, long)
    for title, group in (
        ("Lists", await calls.lists()),
        ("Search", await calls.searches()),
        ("Conversations and messages", calls.changes()),
        ("Answers", calls.answers()),
        ("Bookmarks", calls.bookmarks()),
    ):
        rows = [await _row(call, rounds) for call in group]
        print_table(f"{title}: milliseconds, {rounds} calls each", ["call", "median", "p99"], rows)
    seconds = await calls.export()
    print(f"\nExport of {long:,} messages as JSON: {number(seconds)} s")


async def _row(call: Call, rounds: int) -> list[str]:
    milliseconds = []
    for number_of_call in range(rounds + rounds // 10):
        if call.prepare is not None:
            await call.prepare()
        started = time.perf_counter()
        await call.make()
        if number_of_call >= rounds // 10:  # the first calls plan and compile
            milliseconds.append((time.perf_counter() - started) * 1000)
    return [call.name, number(quantile(milliseconds, 0.5)), number(quantile(milliseconds, 0.99))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=100_000, help="a multiple of 100 (100000)")
    parser.add_argument("--rounds", type=int, default=200, help="how often each call is made (200)")
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="keep the database in this folder for the next run; without it, the database is deleted",
    )
    options = parser.parse_args()
    print(description(), flush=True)
    with tempfile.TemporaryDirectory(prefix="chatserver-scale-") as folder:
        server = EmbeddedPostgres(options.data_dir or Path(folder))
        url = server.start()
        try:
            _run(url, options.conversations, options.rounds)
        finally:
            server.stop()


def _run(url: str, conversations: int, rounds: int) -> None:
    long = conversations // 10
    upgrade(url)
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT FROM chat_conversations LIMIT 1").fetchone() is None:
            started = time.perf_counter()
            fill(connection, conversations, long=long)
            print(f"filled in {time.perf_counter() - started:,.0f} s", flush=True)
        sizes = connection.execute(
            "SELECT relname, reltuples::bigint, pg_table_size(oid) >> 20, pg_indexes_size(oid) >> 20 FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples > 0 ORDER BY 3 DESC"
        ).fetchall()
    rows = [[name, *(f"{value:,}" for value in values)] for name, *values in sizes]
    print_table("Tables", ["table", "rows", "MiB", "MiB of indexes"], rows)

    async def run() -> None:
        app = App(Settings(), url, {})
        gc.collect()
        gc.freeze()  # as the server does
        try:
            await measure(app, conversations, long, rounds)
        finally:
            await app.close()

    asyncio.run(run())


if __name__ == "__main__":
    main()
