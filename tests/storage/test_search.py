"""Search on a real PostgreSQL: the hits, their order, and the index, which follows all changes."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, func, select, text, update

from chatserver.errors import ValidationError
from chatserver.storage import conversations, keyset, message_rows, revisions
from chatserver.storage.branch import branch
from chatserver.storage.conversations import Archived
from chatserver.storage.rewind import rewind
from chatserver.storage.search import hits
from chatserver.storage.search.folding import fold
from chatserver.storage.search.terms import parse_terms
from chatserver.storage.search.words import INDEXED_CHARS, words_of
from chatserver.storage.tables import conversations as conversations_table
from chatserver.storage.tables import messages as messages_table
from chatserver.storage.tables import search_entries
from tests.storage.conftest import Chat

Transaction = Callable[[], AbstractContextManager[Connection]]


class Searching(Chat):
    def __init__(self, chat: Chat, transaction: Transaction) -> None:
        super().__init__(chat.connection, chat.company)
        self.transaction = transaction

    def page(
        self,
        query: str,
        *,
        limit: int = 100,
        cursor: str | None = None,
        company: UUID | None = None,
        archived: Archived = "all",
    ) -> keyset.Slice:
        with self.transaction() as connection:
            found = hits.find_hits(
                connection,
                company_id=company or self.company,
                query=query,
                terms=parse_terms(query),
                archived=archived,
                limit=limit,
                cursor=cursor,
            )
            ids = [hit.entry_id for hit in found.hits]
            rows = hits.read_hits(connection, company_id=company or self.company, entry_ids=ids)
            assert [row.entry for row in rows] == ids
            return keyset.Slice(rows, found.next_cursor)

    def found(self, query: str, *, limit: int = 100, archived: Archived = "all") -> list[str]:
        """The contents of the messages on all pages, in order; titles in angle brackets."""
        contents, cursor = [], None
        while True:
            page = self.page(query, limit=limit, cursor=cursor, archived=archived)
            assert len(page.rows) <= limit
            for row in page.rows:
                title = message_rows.conversation_of(row).title
                message = message_rows.message_of(row)
                contents.append(
                    message.edited_content or message.content if message_rows.has_message(row) else f"<{title}>"
                )
            cursor = page.next_cursor
            if cursor is None:
                return contents


@pytest.fixture
def searching(chat: Chat, transaction: Transaction) -> Searching:
    return Searching(chat, transaction)


def entries(connection: Connection) -> set[tuple[Any, ...]]:
    return {tuple(row) for row in connection.execute(select(search_entries))}


# --- what is found ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "query"),
    [
        ("The quick brown fox", "quick"),
        ("The quick brown fox", "QUICK"),
        ("The quick brown fox", "fox quick"),
        ("The quick brown fox", "qui"),
        ("The quick brown fox", "quick bro"),
        ("The quick brown fox", '"quick brown"'),
        ("The quick brown fox", '"quick brown'),
        ("The quick brown fox", "fox -dog"),
        ("The quick brown fox", 'fox -"brown quick"'),
        ("see chatserver/storage/search.py", "storage"),
        ("see chatserver/storage/search.py", "search.py"),
        ("call self._database.autocommit(x)", "autocommit"),
        ("write to ann@example.com", "example"),
        ("<div class='red'>", "class"),
        ("http://example.com/a?b=c#d", "example.com"),
        ("version 3.14-rc1", "3.14"),
        ("it’s snake_case", "snake"),
        ("Привет, мир—здравствуй «друг»", "друг"),
        ("Привет, мир—здравствуй «друг»", "здравст"),
        ("Größe in café", "GRÖßE"),
        ("cafe\u0301", "café"),
        ("日本語のテスト。これは、猫です。", "猫"),
        ("日本語のテスト。これは、猫です。", "テスト"),
        ("这是一个聊天服务器。", "聊天"),
        ("학교에서 공부한다", "학교"),
        ("ภาษาไทยที่นี่", "ไทย"),
        ("हिन्दी भाषा में।", "में"),
        ("שלום עולם", "עולם"),
        ("مرحبا، بالعالم؟", "بالعالم"),
        ("great 👍 work", "👍"),
        ("-5 degrees", "5"),
        # whatever their case, Unicode form, width, sigma and invisible characters
        ("Do\u00adnau\u00addampf", "Donaudampf"),
        ("Donaudampf", "Do\u00adnaudampf"),
        ("Hand\u200bbuch", "Handbuch"),
        ("Handbuch", "Hand\ufeffbuch"),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
        ("οδυσσευς", '"ΟΔΥΣΣΕΥΣ"'),
        ("οδυσσευς λέγει", "ΟΔΥΣΣΕΥΣ λέγει"),
        ("ἐν τῷ λόγῳ", "ΤΩ͂Ι"),
        ("الســـلام", "السلام"),
        ("السلام", "الســـلام"),
        ("می\u200cخواهم", "میخواهم"),
        ("ＡＰＩ", "api"),
        ("api", "ＡＰＩ"),
        ("ﾃｽﾄ", "テスト"),
        ("ﾊﾟﾝ", "パン"),
        ("oﬃce", "office"),
        ("office", '"oﬃce"'),
        ("STRASSE", "straße"),
        ("straße", '"STRASSE"'),
        ("İstanbul", "istanbul"),
        ("istanbul", '"İSTANBUL"'),
        ("x² + y²", "x2"),
        ("ДОМ", "дом"),
        ("Ａ\u030arhus", "århus"),
        ("e\u00ad\u0301t\u00e9", "été"),
        ("☎\ufe0f call", "☎"),
    ],
)
def test_query_finds_message(searching: Searching, content: str, query: str) -> None:
    searching.say(searching.conversation("named"), content)
    assert searching.found(query) == [content]


@pytest.mark.parametrize(
    ("content", "query"),
    [
        ("The quick brown fox", "quick dog"),
        ("The quick brown fox", '"quick fox"'),
        ("The quick brown fox", '"qui"'),
        ("The quick brown fox", "fox -brown"),
        ("The quick brown fox", 'fox -"quick brown"'),
        ("The quick brown fox", "-dog"),
        ("The quick brown fox", "q"),
        ("The quick brown fox", "'\\ & |"),
        ("これは、猫です。", "犬"),
        ("これは、猫です。", "です猫"),
    ],
)
def test_query_does_not_find_message(searching: Searching, content: str, query: str) -> None:
    searching.say(searching.conversation("named"), content)
    assert searching.found(query) == []


def test_edited_message_is_found_by_its_effective_content(searching: Searching) -> None:
    conversation = searching.conversation("named")
    message = searching.say(conversation, "first wording")
    revisions.edit(searching.connection, None, conversation, message.id, "second thoughts")
    assert searching.found("wording") == []
    assert searching.found("thoughts") == ["second thoughts"]


def test_superseded_message_is_not_found(searching: Searching) -> None:
    conversation = searching.conversation("named")
    question = searching.say(conversation, "fox one")
    searching.answer(conversation, question, "fox two")
    with searching.transaction() as connection:
        rewind(connection, None, conversation, question.id)
    assert searching.found("fox") == ["fox one"]


def test_deleted_conversation_is_not_found_until_restored(searching: Searching) -> None:
    conversation = searching.conversation("fox hunt")
    searching.say(conversation, "red fox")
    conversations.soft_delete(searching.connection, None, conversation)
    assert searching.found("fox") == []
    conversations.restore(searching.connection, None, conversation)
    assert searching.found("fox") == ["<fox hunt>", "red fox"]


def test_archived_conversation_is_found(searching: Searching) -> None:
    conversation = searching.conversation("named")
    searching.say(conversation, "red fox")
    conversations.archive(searching.connection, None, conversation)
    assert searching.found("fox") == ["red fox"]


def test_other_company_finds_nothing(searching: Searching) -> None:
    searching.say(searching.conversation("fox hunt"), "red fox")
    assert searching.page("fox", company=uuid4()).rows == []
    # A query cannot contain the lexeme of the company.
    assert searching.found(f"@{searching.company}") == []
    assert searching.found(f'"@{searching.company}"') == []


def test_branch_is_found_like_its_source(searching: Searching) -> None:
    conversation = searching.conversation("named")
    message = searching.say(conversation, "red fox")
    with searching.transaction() as connection:
        branch(connection, None, conversation, message.id)
    assert searching.found("fox") == ["red fox", "red fox"]
    assert searching.found("named") == ["<named>", "<named>"]


# --- titles -----------------------------------------------------------------------------------------------


def test_title_is_found_before_messages(searching: Searching) -> None:
    titled = searching.conversation("The fox")
    searching.say(titled, "something else")
    searching.say(searching.conversation("named"), "a fox, fox, fox")
    assert searching.found("fox") == ["<The fox>", "a fox, fox, fox"]


def test_changed_title_is_found_by_its_new_words_only(searching: Searching) -> None:
    conversation = searching.conversation("old name")
    conversations.change(searching.connection, None, conversation, {"title": "new name"})
    assert searching.found("old") == []
    assert searching.found("new") == ["<new name>"]
    conversations.change(searching.connection, None, conversation, {"title": None})
    assert searching.found("name") == []


def test_title_from_a_message_is_not_found_beside_the_message(searching: Searching) -> None:
    conversation = searching.conversation()
    message = searching.say(conversation, "how to tame a fox")
    searching.say(conversation, "something else")
    assert searching.found("fox") == ["how to tame a fox"]
    # It stays the title of the conversation even if the message would not be found by it any more.
    revisions.edit(searching.connection, None, conversation, message.id, "how to tame a cat")
    assert searching.found("fox") == ["<how to tame a fox>"]


def test_conversation_is_found_by_its_title_and_by_later_messages(searching: Searching) -> None:
    conversation = searching.conversation("fox hunt")
    searching.say(conversation, "first")
    searching.say(conversation, "the fox is out")
    assert searching.found("fox") == ["<fox hunt>", "the fox is out"]


# --- order and pages --------------------------------------------------------------------------------------


def test_better_hits_come_first(searching: Searching) -> None:
    conversation = searching.conversation("named")
    often, near, rare, long = (
        "fox fox fox den",
        "the fox den here",
        "the fox, and many other words before there is a den",
        "fox den " + " ".join(f"word{number}" for number in range(50)),
    )
    for content in (often, near, rare, long):
        searching.say(conversation, content)
    assert searching.found("fox")[0] == often
    assert searching.found("fox")[-1] == long
    found = searching.found('"fox" "den"')
    assert found.index(near) < found.index(rare)


def test_newest_of_equal_hits_come_first(searching: Searching) -> None:
    for number in range(5):
        searching.say(searching.conversation("named"), f"fox {number}")
    assert searching.found("fox") == [f"fox {number}" for number in reversed(range(5))]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes blocks of a few entries, so that tests need not add thousands."""
    monkeypatch.setattr(hits, "BLOCK", 5)
    monkeypatch.setattr(hits, "_PAGES", {"all": hits._page("all"), "true": hits._page("true")})


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
@pytest.mark.usefixtures("small_blocks")
def test_pages_have_each_hit_once_and_the_best_of_each_block_first(searching: Searching, limit: int) -> None:
    conversation = searching.conversation("named")
    counts = random.Random(limit).choices(range(1, 6), k=23)
    for number, count in enumerate(counts):
        searching.say(conversation, f"number{number}" + " fox" * count)
    found = searching.found("fox", limit=limit)
    newest_first = [f"number{number}" + " fox" * counts[number] for number in reversed(range(23))]
    assert sorted(found) == sorted(newest_first)
    for begin in range(0, 23, 5):
        assert set(found[begin : begin + 5]) == set(newest_first[begin : begin + 5])
        hits = [content.count("fox") for content in found[begin : begin + 5]]
        assert hits == sorted(hits, reverse=True)


@pytest.mark.usefixtures("small_blocks")
def test_pages_stay_right_while_messages_are_added(searching: Searching) -> None:
    conversation = searching.conversation("named")
    for number in range(12):
        searching.say(conversation, f"fox {number}")
    seen: list[str] = []
    cursor = None
    while True:
        page = searching.page("fox", limit=2, cursor=cursor)
        seen += (message_rows.message_of(row).content for row in page.rows)
        searching.say(conversation, "a new fox")
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"fox {number}" for number in reversed(range(12))]


@pytest.mark.usefixtures("small_blocks")
def test_hits_behind_many_deleted_hits_are_found(searching: Searching) -> None:
    searching.say(searching.conversation("named"), "the first fox")
    gone = searching.conversation("gone")
    for _ in range(5 * hits.BLOCKS_AT_ONCE + 3):
        searching.say(gone, "fox")
    conversations.soft_delete(searching.connection, None, gone)
    first = searching.page("fox")
    assert first.rows == []
    assert first.next_cursor is not None
    assert searching.found("fox") == ["the first fox"]


def test_archived_hits_behind_many_active_ones_are_found(searching: Searching, small_blocks: None) -> None:
    archived = searching.conversation("named")
    searching.say(archived, "fox in the archive")
    conversations.archive(searching.connection, None, archived)
    for number in range(5 * hits.BLOCK * hits.BLOCKS_AT_ONCE):
        searching.say(searching.conversation("named"), f"fox {number}")
    assert searching.found("fox", archived="true") == ["fox in the archive"]


def test_cursor_of_another_query_or_company_is_refused(searching: Searching) -> None:
    conversation = searching.conversation("named")
    for number in range(3):
        searching.say(conversation, f"fox {number}")
    cursor = searching.page("fox", limit=1).next_cursor
    assert cursor is not None
    assert len(searching.page("fox", limit=1, cursor=cursor).rows) == 1
    for query, company in (("fo", None), ("fox", uuid4()), ("!", None)):
        with pytest.raises(ValidationError):
            searching.page(query, cursor=cursor, company=company)


def test_planner_settings_end_with_the_transaction_of_a_search(searching: Searching) -> None:
    searching.found("fox")
    assert searching.connection.execute(text("SHOW enable_seqscan")).scalar_one() == "on"


# --- the index --------------------------------------------------------------------------------------------


def test_text_of_a_million_words_is_stored(searching: Searching) -> None:
    """A vector has at most 1 MiB; the text is stored in spite of that."""
    words = [f"{number:x}" for number in range(1_000_000)]
    searching.say(searching.conversation("named"), " ".join(words))
    within = len(" ".join(words)[:INDEXED_CHARS].split())
    assert len(searching.found(words[within - 2])) == 1
    assert searching.found(words[within + 1]) == []


@pytest.mark.parametrize(
    "content",
    [
        "".join(map(chr, range(0x20000, 0x20000 + INDEXED_CHARS))),
        " ".join(map(chr, range(0x20000, 0x20000 + INDEXED_CHARS))),
        " ".join(map(chr, range(0x13000, 0x13000 + 5_000))) + " \U0001d160" * 50_000,
        "\U0001d160" * INDEXED_CHARS,
        "x" * 1_000_000,
        "x" * 3_000 + " fox",
        "\x01\x7f\x85\u2028",
    ],
    ids=["characters", "characters apart", "that grow", "one that grows", "one word", "a long word", "no words"],
)
def test_hostile_text_fits_the_index(searching: Searching, content: str) -> None:
    searching.say(searching.conversation("named"), content)


def test_index_follows_any_change_of_the_tables(searching: Searching) -> None:
    before = entries(searching.connection)
    conversation = searching.conversation("named")
    message = searching.say(conversation, "red fox")
    rewritten = update(messages_table).where(messages_table.c.id == message.id)
    searching.connection.execute(rewritten.values(content="blue"))
    assert searching.found("blue") == ["blue"]
    assert searching.found("red") == []
    searching.connection.execute(rewritten.values(superseded_at=func.now()))
    assert searching.found("blue") == []
    searching.connection.execute(rewritten.values(superseded_at=None))
    assert searching.found("blue") == ["blue"]
    searching.connection.execute(delete(conversations_table).where(conversations_table.c.id == conversation))
    assert entries(searching.connection) == before


def test_new_message_changes_no_other_entry(searching: Searching) -> None:
    conversation = searching.conversation("named")
    before = entries(searching.connection)
    searching.say(conversation, "red fox")
    assert before < entries(searching.connection)


# Assigned characters only: which others are capitals, PostgreSQL may know before Python does.
LETTERS = st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\x00")
TEXTS = st.lists(
    st.one_of(
        st.text(LETTERS, max_size=20),
        st.text(
            st.sampled_from("aé ß-_.,。猫の한ไ👍\u0301\u0307\u200d'\"\\1İIiΣσςᾳᾼΐ\u0345ﾊﾟｶﾞﬃ\u00ad\u0640Ⅷ"), max_size=30
        ),
    ),
    min_size=10,
    max_size=50,
)


def test_postgresql_and_python_fold_each_character_alike(connection: Connection) -> None:
    characters = [chr(code) for code in range(1, 0x110000) if unicodedata.category(chr(code)) not in ("Cs", "Cn")]
    rows = connection.exec_driver_sql(
        "SELECT said, chat_fold(said) FROM unnest(%s::text[]) AS texts (said)", (characters,)
    ).all()
    assert [(said, folded, fold(said)) for said, folded in rows if folded != fold(said)] == []
    assert [each for each in characters if fold(fold(each)) != fold(each)] == []
    folded_otherwise = {each for each in characters if fold(each.upper()) != fold(each) != fold(each.lower())}
    assert folded_otherwise == set()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
def test_postgresql_and_python_fold_texts_alike(connection: Connection, texts: list[str]) -> None:
    rows = connection.exec_driver_sql("SELECT said, chat_fold(said) FROM unnest(%s::text[]) AS texts (said)", (texts,))
    for said, folded in rows:
        assert folded == fold(said)
        assert fold(folded) == folded


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
def test_postgresql_and_python_split_texts_into_the_same_words(connection: Connection, texts: list[str]) -> None:
    """The words of a query must be those of the index."""
    pairs = connection.exec_driver_sql(
        "SELECT said, chat_search_words(said)::text, to_tsvector('simple', words)::text"
        " FROM unnest(%s::text[], %s::text[]) AS pairs (said, words)",
        (texts, [" ".join(words_of(each)) for each in texts]),
    )
    for said, indexed, asked in pairs:
        assert indexed == asked, said
