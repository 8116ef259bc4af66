"""Full-text search over the messages and titles of a company.

A common word is in so many messages that ranking them all takes too long. So hits are taken in blocks: the newest
`BLOCK` of them, then the next; within a block the best come first. PostgreSQL knows how common a word is: for a common
one it reads the newest entries one after the other, the others it finds by their words. At worst, the cost of a page
grows with the square root of the number of entries.

`find_hits` finds a page of hits without their texts; `read_hits` reads the texts of some of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    Text,
    Uuid,
    bindparam,
    cast,
    column,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, REGCONFIG, TSQUERY

from chatserver.storage import keyset, message_rows
from chatserver.storage.conversations import Archived, with_active_run
from chatserver.storage.messages import TEXTS, live
from chatserver.storage.page_bytes import text_bytes
from chatserver.storage.search.terms import Terms
from chatserver.storage.search.triggers import SCOPE_MARK
from chatserver.storage.tables import conversations, messages, search_entries

BLOCK = 1_000
# The normalization of ts_rank: divided by 1 + the logarithm of the number of different words.
FEWER_OTHER_WORDS = 16
# A block may be empty because its conversations were deleted, or are not in the archive that is searched. After so many
# blocks a page may be short.
BLOCKS_AT_ONCE = 5

# A cursor holds the first entry of a block, and the last hit that was given from the block.
_NEWEST_FIRST = keyset.ListOrder("search", descending=True, prefix="start", at=datetime, id=UUID)
_BEST_FIRST = keyset.ListOrder("search", descending=True, rank=int, at=datetime, id=UUID)
_MAX_RANK = 2**31 - 1
_BEGINNING = (datetime(9999, 12, 31, tzinfo=UTC), UUID(int=2**128 - 1))

# --- statements -------------------------------------------------------------------------------------------

# The planner's choices for these statements. It must see the words, and choose between the two indexes. Other plans
# read a whole table.
_PLAN = select(
    *(
        func.set_config(name, value, True)
        for name, value in (
            ("plan_cache_mode", "force_custom_plan"),
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("max_parallel_workers_per_gather", "0"),
            ("jit", "off"),
            ("work_mem", "32MB"),
        )
    )
)

_entries = search_entries.c
_BY_ARCHIVE: dict[Archived, tuple[ColumnElement[bool], ...]] = {
    "false": (conversations.c.archived_at.is_(None),),
    "true": (conversations.c.archived_at.is_not(None),),
    "all": (),
}


def _parsed(name: str) -> ColumnElement[Any]:
    return func.to_tsquery(cast(literal_column("'pg_catalog.simple'"), REGCONFIG), bindparam(name, type_=Text()))


def _matches(vector: ColumnElement[Any]) -> ColumnElement[bool]:
    return vector.bool_op("@@")(cast(bindparam("scope", type_=Text()), TSQUERY).op("&&")(_parsed("terms")))


def _block() -> Select[Any]:
    """The newest entries from `start` on, numbered; one more than a block holds."""
    newest = (
        select(search_entries)
        .where(
            _entries.company_id == bindparam("company"),
            _matches(_entries.vector),
            _NEWEST_FIRST.at_or_after(_entries.said_at, _entries.id),
        )
        .order_by(*_NEWEST_FIRST.by(_entries.said_at, _entries.id))
        .limit(BLOCK + 1)
        .subquery("newest")
    )
    place = func.row_number().over(order_by=_NEWEST_FIRST.by(newest.c.said_at, newest.c.id))
    return select(newest, place.label("place"))


def _page(archived: Archived) -> Select[Any]:
    """The best entries of a block after `after`, with the start of the block and of the next one.

    No row: nothing matches. One row without a hit (`entry_id` is null): none of the block is left.
    """
    block = _block().cte("block")
    first = select(block).where(block.c.place == 1).subquery("first")
    beyond = select(block).where(block.c.place == BLOCK + 1).subquery("beyond")

    # A title that was taken from the first message is not a second hit beside that message.
    namesake = search_entries.alias("namesake")
    first_question = (
        select(messages.c.id)
        .where(
            messages.c.conversation_id == block.c.conversation_id, messages.c.role == literal_column("'user'"), live()
        )
        .order_by(messages.c.position)
        .limit(1)
        .correlate(block)
        .scalar_subquery()
    )
    named_by_a_hit = (
        select(namesake.c.id)
        .join(messages, messages.c.id == namesake.c.id)
        .where(
            namesake.c.id == first_question,
            func.strpos(messages.c.content, conversations.c.title) > 0,
            _matches(namesake.c.vector),
        )
        .correlate(block, conversations)
        .exists()
    )

    # Rounded, so that nearly equal entries are equal, and the newer one comes first.
    rank = cast(func.floor(1000 * func.ts_rank(block.c.vector, _parsed("wanted"), FEWER_OTHER_WORDS)), Integer)
    hits = (
        select(block.c.id, block.c.conversation_id, block.c.of_title, block.c.said_at, rank.label("rank"))
        .join(conversations, conversations.c.id == block.c.conversation_id)
        .where(
            block.c.place <= BLOCK,
            conversations.c.deleted_at.is_(None),
            *_BY_ARCHIVE[archived],
            or_(block.c.of_title == false(), ~named_by_a_hit),
        )
        .cte("hits")
        .prefix_with("MATERIALIZED")  # each rank is computed once
    )
    order = (hits.c.rank, hits.c.said_at, hits.c.id)
    page = (
        select(hits)
        .where(_BEST_FIRST.after(*order))
        .order_by(*_BEST_FIRST.by(*order))
        .limit(bindparam("rows"))
        .subquery("page")
    )
    source = first.outerjoin(beyond, true()).outerjoin(page, true()).outerjoin(messages, messages.c.id == page.c.id)
    columns = (
        first.c.said_at.label("start_at"),
        first.c.id.label("start_id"),
        beyond.c.said_at.label("next_at"),
        beyond.c.id.label("next_id"),
        page.c.id.label("entry_id"),
        page.c.said_at,
        page.c.rank,
        func.coalesce(text_bytes(*TEXTS), 0).label("text_bytes"),
    )
    return select(*columns).select_from(source).order_by(*_BEST_FIRST.by(page.c.rank, page.c.said_at, page.c.id))


def _read() -> Select[Any]:
    wanted = (
        func.unnest(bindparam("entries", type_=ARRAY(Uuid)))
        .table_valued(column("entry", Uuid), with_ordinality="place", name="wanted")
        .render_derived()
    )
    source = wanted.outerjoin(messages, (messages.c.id == wanted.c.entry) & live()).join(
        conversations, conversations.c.id == func.coalesce(messages.c.conversation_id, wanted.c.entry)
    )
    return (
        select(wanted.c.entry, *message_rows.COLUMNS)
        .select_from(with_active_run(source, conversations.c.id))
        .where(conversations.c.company_id == bindparam("company"), conversations.c.deleted_at.is_(None))
        .order_by(wanted.c.place)
    )


_PAGES = {archived: _page(archived) for archived in _BY_ARCHIVE}
_READ = _read()

# --- functions --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hit:
    """A message or a title. `cursor` asks for the hits behind it."""

    entry_id: UUID
    text_bytes: int
    cursor: str


@dataclass(frozen=True, slots=True)
class Found:
    """A page of hits. `next_cursor` None: nothing follows."""

    hits: Sequence[Hit]
    next_cursor: str | None


def find_hits(
    connection: Connection,
    *,
    company_id: UUID,
    query: str,
    terms: Terms,
    archived: Archived = "all",
    limit: int,
    cursor: str | None = None,
) -> Found:
    """A page of hits in a company; `terms` is the parsed `query`. Needs a transaction.

    `archived`: "false" searches active conversations only, "true" archived ones only, "all" both.
    Raises ValidationError for a cursor of another list.
    """
    filters = (company_id, query) if archived == "all" else (company_id, query, archived)
    start, after = _BEGINNING, (_MAX_RANK, *_BEGINNING)
    if cursor is not None:
        start_at, start_id, *rest = keyset.decode("search", filters, cursor, (*_NEWEST_FIRST.types, *_BEST_FIRST.types))
        start, after = (start_at, start_id), tuple(rest)
    if not terms.wanted:
        return Found([], None)
    connection.execute(_PLAN)
    rows: list[Row[Any]] = []
    for _ in range(BLOCKS_AT_ONCE):
        found = connection.execute(_PAGES[archived], _values(company_id, terms, start, after, limit + 1)).all()
        rows += (row for row in found if row.entry_id is not None)
        if len(rows) > limit:
            hits = _hits(rows[:limit], filters)
            return Found(hits, hits[-1].cursor)
        if not found or found[0].next_id is None:
            return Found(_hits(rows, filters), None)
        start = (found[0].next_at, found[0].next_id)
        after = (_MAX_RANK, *start)
    return Found(_hits(rows, filters), keyset.encode("search", filters, (*start, *after)))


def read_hits(connection: Connection, *, company_id: UUID, entry_ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Hits of `find_hits`, in this order: rows of `message_rows.COLUMNS`, and `entry`, the id.

    A row without a message is a hit of the conversation's title. Hits that are gone meanwhile are left out.
    """
    return connection.execute(_READ, {"company": company_id, "entries": list(entry_ids)}).all()


def _hits(rows: Sequence[Row[Any]], filters: Sequence[object]) -> list[Hit]:
    keys = ((row.start_at, row.start_id, row.rank, row.said_at, row.entry_id) for row in rows)
    return [
        Hit(row.entry_id, row.text_bytes, keyset.encode("search", filters, key))
        for row, key in zip(rows, keys, strict=True)
    ]


def _values(
    company_id: UUID, terms: Terms, start: tuple[datetime, UUID], after: tuple[int, datetime, UUID], rows: int
) -> dict[str, Any]:
    return {
        "company": company_id,
        "scope": f"'{SCOPE_MARK}{company_id}'",
        "terms": terms.tsquery,
        "wanted": terms.wanted_tsquery,
        **_NEWEST_FIRST.parameters(start),
        **_BEST_FIRST.parameters(after),
        "rows": rows,
    }
