"""Who signs in: by tokens, and by sessions, which browsers have instead."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Row, text

from chatserver.ids import uuid7
from chatserver.storage.token_validity import IS_VALID, MAY_ASK
from chatserver.storage.turns.statements import array, execute

# How exactly the last use of tokens and sessions is known: a use is written down once in so long.
_USE = "interval '1 minute'"

# The most sessions of one token: a further one ends the oldest.
MAX_SESSIONS = 50

_IS_OPEN = """(
    s.used_at > clock_timestamp() - %(idle_seconds)s * interval '1 second'
    AND s.created_at > clock_timestamp() - %(max_seconds)s * interval '1 second'
)"""

# asked -> found -> used (tokens and sessions whose last use is long ago)
_LOOK_UP = f"""
WITH asked AS (
    SELECT place, decode(digest, 'hex') AS digest, of_session
    FROM unnest(%(places)s::int[], %(digests)s::text[], %(sessions)s::bool[]) AS asked (place, digest, of_session)
), found AS MATERIALIZED (
    SELECT asked.place, t.id AS token_id, NULL::uuid AS session_id, t.company_id, t.name, t.role,
        coalesce(t.last_used_at < clock_timestamp() - {_USE}, true) AS token_rested, false AS session_rested
    FROM asked JOIN api_tokens AS t ON t.digest = asked.digest
    WHERE NOT asked.of_session AND {IS_VALID}
    UNION ALL
    SELECT asked.place, t.id, s.id, t.company_id, t.name, t.role,
        coalesce(t.last_used_at < clock_timestamp() - {_USE}, true), s.used_at < clock_timestamp() - {_USE}
    FROM asked JOIN chat_sessions AS s ON s.digest = asked.digest JOIN api_tokens AS t ON t.id = s.token_id
    WHERE asked.of_session AND {IS_VALID} AND {_IS_OPEN}
), used_tokens AS (
    UPDATE api_tokens SET last_used_at = clock_timestamp() WHERE id IN (
        SELECT id FROM api_tokens WHERE id IN (SELECT token_id FROM found WHERE token_rested)
        FOR NO KEY UPDATE SKIP LOCKED
    )
), used_sessions AS (
    UPDATE chat_sessions SET used_at = clock_timestamp() WHERE id IN (
        SELECT id FROM chat_sessions WHERE id IN (SELECT session_id FROM found WHERE session_rested)
        FOR NO KEY UPDATE SKIP LOCKED
    )
)
SELECT place, token_id, session_id, company_id, name, role FROM found
"""  # noqa: S608 (only constants are put in)

_LOST_TOKENS = f"""
SELECT asked.id, asked.role FROM unnest(%(ids)s::uuid[], %(roles)s::text[]) AS asked (id, role)
WHERE NOT EXISTS (SELECT FROM api_tokens AS t WHERE t.id = asked.id AND t.role = asked.role AND {IS_VALID})
"""  # noqa: S608
_LOST_ASKERS = f"""
SELECT asked.id FROM unnest(%(ids)s::uuid[]) AS asked (id)
WHERE NOT EXISTS (SELECT FROM api_tokens AS t WHERE t.id = asked.id AND {MAY_ASK})
"""  # noqa: S608
_LOST_SESSIONS = f"""
SELECT asked.id FROM unnest(%(ids)s::uuid[]) AS asked (id)
WHERE NOT EXISTS (SELECT FROM chat_sessions AS s WHERE s.id = asked.id AND {_IS_OPEN})
"""  # noqa: S608

# Waits for a transaction that erases the token.
_OPEN_SESSION = text(
    f"""
    INSERT INTO chat_sessions (id, digest, token_id, created_at, used_at)
    SELECT CAST(:session AS uuid), CAST(:digest AS bytea), t.id, clock_timestamp(), clock_timestamp()
    FROM api_tokens AS t WHERE t.id = :token AND {IS_VALID}
    FOR KEY SHARE OF t
    """  # noqa: S608
)
_CLOSE_FORMER_SESSION = text("DELETE FROM chat_sessions WHERE digest = :digest")
# Ids are in the order of time.
_CLOSE_SURPLUS = text(
    """
    DELETE FROM chat_sessions WHERE id IN (
        SELECT id FROM chat_sessions WHERE token_id = :token ORDER BY id DESC OFFSET :most FOR UPDATE SKIP LOCKED
    )
    """
)
_CLOSE_SESSION = text("DELETE FROM chat_sessions WHERE id = :session")
_CLOSE_SESSIONS = text("DELETE FROM chat_sessions WHERE token_id = :token")


_FORMER_TOKEN = text("SELECT id, company_id, name, revoked_at FROM api_tokens WHERE digest = :digest")


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long sessions last, in seconds: without a request, and at most."""

    idle_seconds: float
    max_seconds: float

    def parameters(self) -> dict[str, float]:
        return {"idle_seconds": self.idle_seconds, "max_seconds": self.max_seconds}


class Credential(NamedTuple):
    """What somebody shows: the digest of a token, or of the value of a session's cookie."""

    digest: bytes
    of_session: bool


class Known(NamedTuple):
    """Whose a credential is. `company_id` None: an administrator's."""

    token_id: UUID
    session_id: UUID | None
    company_id: UUID | None
    name: str
    role: str


class Unknown(NamedTuple):
    """Nobody's: there is no such credential, or it has expired or was revoked."""


class Lost(NamedTuple):
    """What is good no more: tokens, each with the role that it had, sessions, and `askers`, the tokens for which no
    answer may go on any more."""

    tokens: frozenset[tuple[UUID, str]]
    sessions: frozenset[UUID]
    askers: frozenset[UUID]


def look_up(connection: Connection, credentials: Sequence[Credential], lifetimes: Lifetimes) -> list[Known | Unknown]:
    """Whose each credential is, in one statement. That it was used is written down, to the minute."""
    rows = execute(
        connection,
        _LOOK_UP,
        {
            "places": array(range(len(credentials))),
            "digests": array(credential.digest.hex() for credential in credentials),
            "sessions": array(credential.of_session for credential in credentials),
            **lifetimes.parameters(),
        },
    )
    known = {row.place: Known(*row[1:]) for row in rows}
    return [known.get(place) or Unknown() for place in range(len(credentials))]


def lost(
    connection: Connection,
    tokens: Collection[tuple[UUID, str]],
    sessions: Collection[UUID],
    askers: Collection[UUID],
    lifetimes: Lifetimes,
) -> Lost:
    """Those that are good no more. A token whose role is another one now counts as such: it may do other things."""

    def ids(statement: str, asked: Collection[UUID], **given: float) -> frozenset[UUID]:
        rows = execute(connection, statement, {"ids": array(asked), **given}) if asked else []
        return frozenset(row.id for row in rows)

    given = {"ids": array(token for token, _ in tokens), "roles": array(role for _, role in tokens)}
    lost_tokens = execute(connection, _LOST_TOKENS, given) if tokens else []
    return Lost(
        frozenset((row.id, row.role) for row in lost_tokens),
        ids(_LOST_SESSIONS, sessions, **lifetimes.parameters()),
        ids(_LOST_ASKERS, askers),
    )


def open_session(connection: Connection, token_id: UUID, digest: bytes, former_digest: bytes | None) -> bool:
    """Open a session of a token; False: the token is good no more.

    `former_digest`: that of the browser's session until now, which ends.
    """
    if former_digest is not None:
        connection.execute(_CLOSE_FORMER_SESSION, {"digest": former_digest})
    given = {"session": uuid7(), "digest": digest, "token": token_id}
    if connection.execute(_OPEN_SESSION, given).rowcount != 1:
        return False
    connection.execute(_CLOSE_SURPLUS, {"token": token_id, "most": MAX_SESSIONS})
    return True


def close_session(connection: Connection, session_id: UUID) -> None:
    """End a session."""
    connection.execute(_CLOSE_SESSION, {"session": session_id})


def close_sessions(connection: Connection, token_id: UUID) -> None:
    """End all sessions of a token."""
    connection.execute(_CLOSE_SESSIONS, {"token": token_id})


def former_token(connection: Connection, digest: bytes) -> Row[Any] | None:
    """A token that is good no more: a row of `id company_id name revoked_at`. None: there was none."""
    return connection.execute(_FORMER_TOKEN, {"digest": digest}).one_or_none()
