"""The companies that an actor may see, as SQL: the one place that hides rows from other companies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, any_, bindparam, or_
from sqlalchemy.dialects.postgresql import ARRAY

Companies = Sequence[UUID] | None
"""The companies whose rows a statement may use; None: all."""


def in_scope(company_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """True for rows of the companies in the parameter `companies`."""
    companies = bindparam("companies", type_=ARRAY(Uuid))
    return or_(companies.is_(None), company_id == any_(companies))


def companies_parameter(companies: Companies) -> list[UUID] | None:
    """The value of the parameter `companies`, as the driver takes it."""
    return None if companies is None else list(companies)
