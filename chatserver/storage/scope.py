"""Which companies somebody may see, as SQL: the one place where rows are kept from other companies' eyes.

No parameter of a statement in this package is named like a column: SQLAlchemy takes a value whose name is a column
of an updated table for one more column to set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, any_, bindparam, or_
from sqlalchemy.dialects.postgresql import ARRAY

Companies = Sequence[UUID] | None
"""The companies whose rows a statement may touch; None: all of them."""


def in_scope(company_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """True for rows of the companies in the parameter `companies`."""
    companies = bindparam("companies", type_=ARRAY(Uuid))
    return or_(companies.is_(None), company_id == any_(companies))


def companies_parameter(companies: Companies) -> list[UUID] | None:
    """The value of the parameter `companies`, as the driver takes it."""
    return None if companies is None else list(companies)
