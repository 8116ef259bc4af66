"""Branch: copying the messages up to a message into a new conversation, all within PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Text,
    Uuid,
    bindparam,
    case,
    column,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from chatserver.errors import NotFoundError, UnprocessableError
from chatserver.ids import uuid7
from chatserver.storage.conversations import later_than, visible
from chatserver.storage.messages import TEXTS, effective_content, live
from chatserver.storage.page_bytes import text_bytes
from chatserver.storage.reading_order import place_of_target, up_to_target
from chatserver.storage.scope import Companies, companies_parameter
from chatserver.storage.search.triggers import COPIES
from chatserver.storage.tables import (
    ANSWER_IS_STORED,
    conversations,
    is_current,
    is_past,
    messages,
    revisions,
    runs,
    search_entries,
)
from chatserver.storage.titles import first_line

# What one branch may copy. It then takes some seconds at most.
MAX_MESSAGES = 10_000
MAX_BYTES = 8 << 20
# Most of the time goes into the index of words. No single statement shall take long, so that it can be cancelled.
BYTES_A_STATEMENT = 1 << 20

_conversation_id = bindparam("conversation", type_=conversations.c.id.type)

# Erasing waits until the copy is there to be found, and the copy waits for erasing: it must not see what is erased
# meanwhile. All others go on.
_SOURCE = select(conversations).where(visible()).with_for_update(read=True, key_share=True)
_UP_TO = (
    select(messages.c.id, text_bytes(*TEXTS).label("bytes"))
    .where(
        messages.c.conversation_id == _conversation_id,
        up_to_target(),
        live(),
    )
    .order_by(messages.c.position)
    .limit(bindparam("rows"))
)
_title = bindparam("title", type_=Text())
_originals = bindparam("originals", type_=ARRAY(Uuid))
_question = (messages.c.conversation_id == _conversation_id, messages.c.role == "user")
# The wordings of questions that are left out, as far as the title occurs in them.
_left_out = (*_question, messages.c.id.not_in(select(func.unnest(_originals))))
_LEFT_OUT = union_all(
    select(messages.c.content).where(*_left_out, func.strpos(messages.c.content, _title) > 0),
    select(revisions.c.content)
    .join(messages, messages.c.id == revisions.c.message_id)
    .where(*_left_out, func.strpos(revisions.c.content, _title) > 0),
)
_FIRST_QUESTION = (
    select(effective_content())
    .where(*_question, messages.c.id.in_(select(func.unnest(_originals))))
    .order_by(messages.c.position)
    .limit(1)
)
_COPY_ENTRIES_INSTEAD = select(func.set_config(COPIES, "on", True))
_COLUMNS = (
    "id",
    "company_id",
    "title",
    "agent_id",
    "parent_conversation_id",
    "branch_from_message_id",
    "last_position",
)
# Later than its source: it stands above it in lists.
_after_source = later_than(bindparam("source_updated_at", type_=conversations.c.updated_at.type), func.now())
_CREATE = insert(conversations).values(
    created_at=_after_source, updated_at=_after_source, **{name: bindparam(f"new_{name}") for name in _COLUMNS}
)


def _copies(name: str) -> Any:
    """A table of the copied messages: the original's id, the copy's id and position, the id of the copied run."""
    ids = [bindparam(parameter, type_=ARRAY(Uuid)) for parameter in ("originals", "copies", "new_runs")]
    columns = [column(each, Uuid) for each in ("original", "copy", "new_run")]
    unnest = func.unnest(*ids).table_valued(*columns, with_ordinality="place", name=name)
    return unnest.render_derived()


def _copy_messages() -> Any:
    copies, replied = _copies("copies"), _copies("replied")
    own = {
        "id": copies.c.copy,
        "conversation_id": bindparam("new_conversation", type_=Uuid()),
        "position": copies.c.place,
        "reply_to": replied.c.copy,
        # The copy has one revision, which bears its id.
        "wording": case((messages.c.wording.is_not(None), copies.c.copy)),
    }
    columns = {each.name: own.get(each.name, each) for each in messages.c}
    source = messages.join(copies, messages.c.id == copies.c.original).outerjoin(
        replied, messages.c.reply_to == replied.c.original
    )
    return insert(messages).from_select(list(columns), select(*columns.values()).select_from(source))


def _copy_revisions() -> Any:
    columns = {
        "id": messages.c.wording,
        "message_id": messages.c.id,
        "content": messages.c.edited_content,
        "edited_at": messages.c.edited_at,
    }
    copied = messages.c.conversation_id == bindparam("new_conversation", type_=Uuid())
    edited = select(*columns.values()).where(copied, messages.c.wording.is_not(None))
    return insert(revisions).from_select(list(columns), edited)


def _copy_runs() -> Any:
    copies, asked = _copies("copies"), _copies("asked")
    own = {
        "id": copies.c.new_run,
        "conversation_id": bindparam("new_conversation", type_=Uuid()),
        "trigger_message_id": asked.c.copy,
        "trigger_wording": case((runs.c.trigger_wording.is_not(None), asked.c.copy)),
        "answer_message_id": copies.c.copy,
    }
    columns = {each.name: own.get(each.name, each) for each in runs.c}
    source = runs.join(copies, runs.c.answer_message_id == copies.c.original).outerjoin(
        asked, runs.c.trigger_message_id == asked.c.original
    )
    statement = (
        select(*columns.values())
        .select_from(source)
        .where(
            runs.c.conversation_id == _conversation_id,
            ANSWER_IS_STORED,
            or_(runs.c.trigger_message_id.is_(None), asked.c.copy.is_not(None)),
        )
    )
    return insert(runs).from_select(list(columns), statement)


def _copy_failures() -> Any:
    """Copy the newest run of each question if it failed."""
    copies, later = _copies("copies"), runs.alias("later")
    own = {
        "id": copies.c.new_run,
        "conversation_id": bindparam("new_conversation", type_=Uuid()),
        "trigger_message_id": copies.c.copy,
    }
    columns = {each.name: own.get(each.name, each) for each in runs.c}
    of_the_same = (later.c.conversation_id == _conversation_id, later.c.trigger_message_id == copies.c.original)
    statement = (
        select(*columns.values())
        .select_from(runs.join(copies, runs.c.trigger_message_id == copies.c.original))
        .where(
            is_past(runs),
            runs.c.status == literal_column("'failed'"),
            ~exists().where(*of_the_same, is_past(later), later.c.started_at > runs.c.started_at),
            ~exists().where(*of_the_same, is_current(later)),
        )
    )
    return insert(runs).from_select(list(columns), statement)


def _copy_entries() -> Any:
    copies = _copies("copies")
    own = {"id": copies.c.copy, "conversation_id": bindparam("new_conversation", type_=Uuid())}
    columns = {each.name: own.get(each.name, each) for each in search_entries.c}
    source = search_entries.join(copies, search_entries.c.id == copies.c.original)
    statement = (
        select(*columns.values())
        .select_from(source)
        .where(copies.c.place.between(bindparam("first"), bindparam("last")))
    )
    return insert(search_entries).from_select(list(columns), statement)


_COPY_MESSAGES = _copy_messages()
_COPY_REVISIONS = _copy_revisions()
_COPY_RUNS = _copy_runs()
_COPY_FAILURES = _copy_failures()
_COPY_ENTRIES = _copy_entries()


def branch(connection: Connection, companies: Companies, conversation_id: UUID, message_id: UUID) -> UUID:
    """Make a new conversation with copies of all live messages up to and with that message; its id.

    The copies keep times, their present wordings, and replies to messages that are copied as well. An answered question
    stays answered, and one whose answer failed stays so.
    Needs a transaction that sees one snapshot: messages may be added, edited or superseded meanwhile, and answers
    committed. PostgreSQL aborts it if the snapshot has what was erased since; then it is to be repeated. Raises
    NotFoundError if the conversation has no such live message, and UnprocessableError if more than MAX_MESSAGES or
    MAX_BYTES would be copied.
    """
    named = {"conversation": conversation_id}
    source = connection.execute(_SOURCE, {**named, "companies": companies_parameter(companies)}).one_or_none()
    if source is None:
        raise NotFoundError("Conversation not found")
    target = place_of_target(connection, conversation_id, message_id)
    rows = connection.execute(_UP_TO, {**named, **target, "rows": MAX_MESSAGES + 1}).all()
    if len(rows) > MAX_MESSAGES or sum(row.bytes for row in rows) > MAX_BYTES:
        raise UnprocessableError(
            f"Too much to copy: a branch has at most {MAX_MESSAGES:,} messages and {MAX_BYTES >> 20} MiB of text"
        )
    originals = [row.id for row in rows]
    new_id = uuid7()
    values = {
        "source_updated_at": source.updated_at,
        "new_id": new_id,
        "new_company_id": source.company_id,
        "new_title": _title_of_copies(connection, source.title, {**named, "originals": originals}),
        "new_agent_id": source.agent_id,
        "new_parent_conversation_id": conversation_id,
        "new_branch_from_message_id": message_id,
        "new_last_position": len(originals),
    }
    connection.execute(_CREATE, values)
    copied = {
        "new_conversation": new_id,
        "originals": originals,
        "copies": [uuid7() for _ in originals],
        "new_runs": [uuid7() for _ in originals],
    }
    connection.execute(_COPY_ENTRIES_INSTEAD)
    connection.execute(_COPY_MESSAGES, copied)
    for first, last in _slices([row.bytes for row in rows]):
        connection.execute(_COPY_ENTRIES, {**copied, "first": first, "last": last})
    connection.execute(_COPY_REVISIONS, copied)
    connection.execute(_COPY_RUNS, {**named, **copied})
    connection.execute(_COPY_FAILURES, {**named, **copied})
    return new_id


def _title_of_copies(connection: Connection, title: str | None, given: dict[str, Any]) -> str | None:
    """The title of the source, unless it was taken from a question that is not copied: then from the first that is."""
    if title is None or title not in map(
        first_line, connection.execute(_LEFT_OUT, {**given, "title": title}).scalars()
    ):
        return title
    first = connection.execute(_FIRST_QUESTION, given).scalar_one_or_none()
    return None if first is None else first_line(first)


def _slices(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and the last place of each slice of the messages; places begin with 1."""
    first, size = 1, 0
    for place, each in enumerate(sizes, 1):
        size += each
        if size >= BYTES_A_STATEMENT or place == len(sizes):
            yield first, place
            first, size = place + 1, 0
