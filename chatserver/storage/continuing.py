"""On whose behalf a run goes on without readers.

It was asked for by tokens, which `continues_for` names, or by somebody who needs none: then it is null, whoever else
asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
)

from chatserver.storage.access_tables import tokens
from chatserver.storage.tables import runs
from chatserver.storage.token_validity import MAY_ASK

_asks = bindparam("asks", type_=Boolean)
_asked_by = bindparam("asked_by", type_=ARRAY(Uuid))

_each = func.unnest(runs.c.continues_for.op("||")(_asked_by)).column_valued("each")
_both = select(func.array_agg(_each.distinct())).correlate(runs).scalar_subquery()

ASKED_TOO: dict[str, ColumnElement[Any]] = {
    "continues": or_(runs.c.continues, _asks),
    "continues_for": case(
        (~_asks, runs.c.continues_for),
        (or_(_asked_by.is_(None), and_(runs.c.continues, runs.c.continues_for.is_(None))), null()),
        else_=_both,
    ),
}
"""Values for an update of `runs`: also those of `asking` ask that the run goes on."""

_token = tokens.alias("t")
_may_ask = literal_column(MAY_ASK, Boolean)

HAS_ASKER = and_(
    runs.c.continues,
    or_(
        runs.c.continues_for.is_(None),
        exists().where(_token.c.id == any_(runs.c.continues_for), _may_ask).correlate(runs),
    ),
)
"""True for runs that go on without readers on behalf of somebody who may still ask for answers."""


def asking(continues: bool, continues_for: Sequence[UUID] | None) -> dict[str, Any]:
    """The parameters of `ASKED_TOO`. `continues` False: nobody asks. `continues_for` None: no token is asked for."""
    return {"asks": continues, "asked_by": None if continues_for is None else list(continues_for)}
