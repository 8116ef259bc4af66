"""The one definition of the schema. A test compares it with the migrations.

In an UPDATE no parameter has the name of a column of its table: SQLAlchemy would set that column, too.

Two columns hold orders:

* `chat_messages.position` counts 1, 2, 3 … within a conversation. It is given out under the row lock of the
  conversation, so the order is total and the same for everybody, whatever the clocks say.
* `chat_runs.epoch` counts the owners of a run. Every write for a run names owner and epoch; this fence rejects a
  former owner that wakes up late.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Computed,
    Connection,
    DateTime,
    ForeignKey,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    event,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

from chatserver.storage.search.folding import FOLD
from chatserver.storage.search.triggers import SEARCH_SCHEMA

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Moment = DateTime(timezone=True)

conversations = Table(
    "chat_conversations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("company_id", Uuid, nullable=False),
    Column("title", Text),
    # as the filter of titles compares it
    Column("folded_title", Text, Computed("chat_fold(title)", persisted=True)),
    Column("agent_id", Uuid),
    Column("pinned_at", Moment),
    Column("archived_at", Moment),
    Column("deleted_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("parent_conversation_id", Uuid),
    Column("branch_from_message_id", Uuid),
    # the position of the newest message, superseded ones included
    Column("last_position", BigInteger, nullable=False, server_default=text("0")),
)

# The order of the list, read backwards: pinned first, then the newest. Active and archived conversations have separate
# indexes, so that no list reads over the others.
_LISTED = (text("(pinned_at IS NOT NULL)"), conversations.c.updated_at, conversations.c.id)
_COMPANY = (conversations.c.company_id,)
_AGENT = (conversations.c.company_id, conversations.c.agent_id)
for _name, _columns, _condition in (
    ("list", _COMPANY, "archived_at IS NULL"),
    ("archive", _COMPANY, "archived_at IS NOT NULL"),
    ("agent_list", _AGENT, "archived_at IS NULL AND agent_id IS NOT NULL"),
    ("agent_archive", _AGENT, "archived_at IS NOT NULL AND agent_id IS NOT NULL"),
):
    Index(
        f"ix_chat_conversations_{_name}",
        *_columns,
        *_LISTED,
        postgresql_where=text(f"deleted_at IS NULL AND {_condition}"),
    )

messages = Table(
    "chat_messages",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("conversation_id", Uuid, ForeignKey("chat_conversations.id", ondelete="CASCADE"), nullable=False),
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("agent_id", Uuid),
    # who wrote it; null: an agent, or somebody who was not signed in
    Column("author", Text),
    Column("created_at", Moment, nullable=False),
    Column("edited_content", Text),
    Column("edited_at", Moment),
    Column("position", BigInteger, nullable=False),
    Column("reply_to", Uuid),
    Column("status", Text, nullable=False, server_default=text("'completed'")),
    # when it was superseded; all that were superseded together have the same time, and no others of the conversation
    Column("superseded_at", Moment),
    # the position of the message that they followed; 0: they were the first ones; null while they are live, and where
    # an older version rewound (`storage/restore.py` finds it out)
    Column("superseded_after", BigInteger),
    # the revision that `edited_content` holds
    Column("wording", Uuid),
    # Of answers, as far as they are known. `model` answered; `reasoning` is its thinking, which nobody searches, and
    # `reasoning_ms` how long it took; the duration is that of the run that stored the answer, from its beginning in
    # that process.
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column("model", Text),
    Column("stop_reason", Text),
    Column("duration_ms", Integer),
    Column("reasoning", Text),
    Column("reasoning_ms", Integer),
    CheckConstraint("role IN ('user', 'assistant', 'system')", name="role"),
    CheckConstraint("status IN ('completed', 'stopped')", name="status"),
)

Index("uq_chat_messages_conversation_id_position", messages.c.conversation_id, messages.c.position, unique=True)

# For erasing what a person wrote.
Index("ix_chat_messages_author", messages.c.author, messages.c.id, postgresql_where=messages.c.author.is_not(None))

# What messages were edited to, each wording once, the present ones included. The first wording is the message's own.
revisions = Table(
    "chat_message_revisions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("message_id", Uuid, ForeignKey("chat_messages.id", ondelete="CASCADE"), nullable=False),
    Column("content", Text, nullable=False),
    Column("edited_at", Moment, nullable=False),
)

Index("ix_chat_message_revisions_message_id", revisions.c.message_id)

runs = Table(
    "chat_runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("conversation_id", Uuid, ForeignKey("chat_conversations.id", ondelete="CASCADE"), nullable=False),
    Column("trigger_message_id", Uuid),
    # the revision of the trigger that is answered; null: its first wording
    Column("trigger_wording", Uuid),
    Column("agent_id", Uuid),
    # active     being generated under the lease
    # completed  its answer is stored          kept     stopped; what was shown is stored
    # stopped    stopped, nothing is stored    failed   ended with an error, nothing is stored
    # dropped    its readers left, or its process died  superseded  was completed or kept, then rewound
    Column("status", Text, nullable=False),
    Column("owner", Uuid, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("lease_until", Moment, nullable=False),
    Column("continues", Boolean, nullable=False, server_default=text("false")),
    # the tokens on whose behalf it continues; null: no token is asked for
    Column("continues_for", ARRAY(Uuid)),
    # the company, of runs that are counted for `company_max_runs`
    Column("company_id", Uuid),
    # a requested stop: 'discard' or 'keep'
    Column("stop_requested", Text),
    # another process asks that it is dropped if nobody reads it; its owner takes that back if somebody does
    Column("asked_to_yield", Boolean, nullable=False, server_default=text("false")),
    Column("answer_message_id", Uuid),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("started_at", Moment, nullable=False),
    Column("ended_at", Moment),
    CheckConstraint(
        "status IN ('active', 'completed', 'kept', 'stopped', 'failed', 'dropped', 'superseded')", name="status"
    ),
    CheckConstraint("stop_requested IN ('discard', 'keep')", name="stop_requested"),
)

# Literals, not parameters: so the planner sees that the partial index fits.
ANSWER_IS_STORED = runs.c.status.in_([literal_column("'completed'"), literal_column("'kept'")])


def is_current(run: FromClause) -> ColumnElement[bool]:
    """True for runs that generate an answer, or generated the one that is stored. `run` has the columns of `runs`."""
    return run.c.status.in_([literal_column(f"'{status}'") for status in ("active", "completed", "kept")])


def is_past(run: FromClause) -> ColumnElement[bool]:
    """True for all other runs. All of them are older than the current run of their trigger, if there is one."""
    return run.c.status.in_(
        [literal_column(f"'{status}'") for status in ("stopped", "failed", "dropped", "superseded")]
    )


# One live or stored answer per trigger, and one for a conversation without a user message.
Index(
    "uq_chat_runs_trigger",
    runs.c.conversation_id,
    runs.c.trigger_message_id,
    unique=True,
    postgresql_nulls_not_distinct=True,
    postgresql_where=text("status IN ('active', 'completed', 'kept')"),
)
# All other runs: the newest one of a message says whether its answer failed. A run whose answer is stored never stands
# in this index, so an ordinary turn does not pay for it.
Index(
    "ix_chat_runs_past",
    runs.c.trigger_message_id,
    runs.c.started_at,
    postgresql_where=text("status IN ('stopped', 'failed', 'dropped', 'superseded')"),
)
# One active answer per conversation.
Index(
    "uq_chat_runs_active",
    runs.c.conversation_id,
    unique=True,
    postgresql_where=text("status = 'active'"),
)
# For the count of a company's active answers, and written as IS_ACTIVE, so that PostgreSQL takes no other index for it.
# Where nothing is counted, no run stands in it.
Index(
    "ix_chat_runs_company_id",
    runs.c.company_id,
    postgresql_where=text("company_id IS NOT NULL AND status || '' = 'active'"),
)
# For what concerns all runs of a conversation: restoring, erasing.
Index("ix_chat_runs_conversation_id", runs.c.conversation_id)
# For a run that is named by its id. It is written so that no partial index seems to fit: if hardly any run was active
# when PostgreSQL last gathered its statistics, it would rather read all active ones than look the id up.
IS_ACTIVE = runs.c.status.concat(literal_column("''")) == literal_column("'active'")

# The messages that were sent under an Idempotency-Key, for a day and a little more.
sent_keys = Table(
    "chat_sent_keys",
    metadata,
    Column("conversation_id", Uuid, ForeignKey("chat_conversations.id", ondelete="CASCADE"), primary_key=True),
    Column("route", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("created_at", Moment, nullable=False),
    CheckConstraint("route IN ('messages', 'stream')", name="route"),
)

Index("ix_chat_sent_keys_created_at", sent_keys.c.created_at)

agents = Table(
    "agents",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("company_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("adapter_type", Text, nullable=False),
    Column("adapter_config", JSONB, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    # rows stay after DELETE, so that old answers keep the name of their author
    Column("deleted_at", Moment),
    CheckConstraint("adapter_type IN ('echo', 'llm')", name="adapter_type"),
)

# Removed ones are in it, too: the page lists all.
Index("ix_agents_list", agents.c.company_id, agents.c.created_at, agents.c.id)

bookmarks = Table(
    "chat_bookmarks",
    metadata,
    Column("message_id", Uuid, ForeignKey("chat_messages.id", ondelete="CASCADE"), primary_key=True),
    Column("company_id", Uuid, nullable=False),
    Column("created_at", Moment, nullable=False),
)

Index("ix_chat_bookmarks_list", bookmarks.c.company_id, bookmarks.c.created_at, bookmarks.c.message_id)

# One row: the code that has the migration `serves_from` may use the database, also code that is older than its newest
# one (`postgres/migrate.py`).
Table("chat_schema", metadata, Column("serves_from", Text, primary_key=True))

# The search index: a row for each live message and each title, written by triggers (`search/triggers.py`). Titles have
# no vector in their own table: each new message changes the row of its conversation, and so all indexes on it.
search_entries = Table(
    "chat_search",
    metadata,
    # the id of the message, or of the conversation whose title it is
    Column("id", Uuid, primary_key=True),
    Column("company_id", Uuid, nullable=False),
    Column("conversation_id", Uuid, nullable=False),
    Column("of_title", Boolean, nullable=False),
    Column("said_at", Moment, nullable=False),
    # the words with their places, and a lexeme for the company
    Column("vector", TSVECTOR, nullable=False),
)

# For very common words: the newest entries are read one after the other.
Index("ix_chat_search_newest", search_entries.c.company_id, search_entries.c.said_at, search_entries.c.id)
# For all other words.
Index(
    "ix_chat_search_vector",
    search_entries.c.vector,
    postgresql_using="gin",
    # With a short list of pending entries, of a few dozen messages: to put them into the index together costs less. A
    # search reads the whole list, and one message pays for all that are in it, so it must not be long.
    postgresql_with={"fastupdate": "on", "gin_pending_list_limit": "64"},
)


@event.listens_for(metadata, "before_create")
def _create_functions(_: MetaData, connection: Connection, **__: object) -> None:
    connection.exec_driver_sql(FOLD)


@event.listens_for(metadata, "after_create")
def _keep_in_step(_: MetaData, connection: Connection, **__: object) -> None:
    for statement in SEARCH_SCHEMA:
        connection.exec_driver_sql(statement)
