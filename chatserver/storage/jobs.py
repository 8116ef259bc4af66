"""Work that one process does for all: whoever finds it due takes it, until a time, and tells when it is due again.

If that process dies, the work is due again at that time.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

_NEXT = "clock_timestamp() + make_interval(secs => :seconds)"
_CLAIM = text(
    f"""
    INSERT INTO chat_jobs (name, due_at) VALUES (:name, {_NEXT})
    ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at WHERE chat_jobs.due_at <= clock_timestamp()
    RETURNING name
    """  # noqa: S608 (only constants are put in)
)
_POSTPONE = text(f"UPDATE chat_jobs SET due_at = {_NEXT} WHERE name = :name")  # noqa: S608


def claim(connection: Connection, name: str, seconds: float) -> bool:
    """Take a job for so long; False: it is not due, or another process has it."""
    return connection.execute(_CLAIM, {"name": name, "seconds": seconds}).first() is not None


def postpone(connection: Connection, name: str, seconds: float) -> None:
    """Have a job due in so many seconds: it goes on until then, or is done."""
    connection.execute(_POSTPONE, {"name": name, "seconds": seconds})
