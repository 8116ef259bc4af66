"""Pages that are bounded in bytes: PostgreSQL reads no text behind the bound.

The length of a text is known without reading it, even of one that is stored compressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, func

# A larger item is a page of its own. So is a page of a list read in several turns, and short calls stay short.
PAGE_BYTES = 512 * 1024


def text_bytes(*texts: ColumnElement[Any]) -> ColumnElement[int]:
    """The bytes of texts, of which some may be null."""
    return sum((func.coalesce(func.octet_length(each), 0) for each in texts[1:]), func.octet_length(texts[0]))


def with_places(page: Select[Any], size: ColumnElement[int], order: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """`page`, ordered by `order`, with two more columns, which also count rows behind the page's limit.

    `bytes_before`: of all rows before a row; `followed`: whether another row comes after it.
    """
    running = func.sum(size).over(order_by=order, rows=(None, 0))
    followed = func.lead(1, 1, 0).over(order_by=order)
    return page.add_columns((running - size).label("bytes_before"), (followed == 1).label("followed"))


def within_bytes(page: FromClause) -> ColumnElement[bool]:
    """True for the rows of a page from `with_places` that are within the bound; in any case for the first one."""
    return page.c.bytes_before < PAGE_BYTES
