"""Tokens in a database, made and taken away without the command line."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import psycopg

from chatserver import credentials
from chatserver.ids import uuid7


@dataclass(frozen=True)
class Token:
    id: UUID
    text: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}"}


def make_token(
    url: str, company: str | UUID | None, role: str = "member", *, name: str = "ann", expires: str | None = None
) -> Token:
    """`company` None: an administrator's. `expires`: an interval from now, as PostgreSQL writes it."""
    token = Token(uuid7(), credentials.new_token())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO api_tokens (id, digest, company_id, name, role, created_at, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, now(), now() + %s::interval)",
            [
                token.id,
                credentials.digest(token.text),
                company,
                name,
                role if company is not None else "manager",
                expires,
            ],
        )
    return token


def revoke(url: str, token: Token) -> None:
    execute(url, "UPDATE api_tokens SET revoked_at = now() WHERE id = %s", token.id)


def execute(url: str, statement: str, *values: object) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement, values)
