"""Health of the database, without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from chatserver.errors import DatabaseUnavailableError
from chatserver.services.health import DatabaseHealth
from tests.kit.virtual_time import in_virtual_time

T = TypeVar("T")


class LateOnce:
    """Answers late the first time, and then at once."""

    def __init__(self) -> None:
        self.asked = 0
        self.late = True
        self.given_up = 0

    async def autocommit(self, function: Callable[[Connection], T]) -> T:
        self.asked += 1
        if self.late:
            await asyncio.sleep(1.5)
            raise DatabaseUnavailableError
        return None  # type: ignore[return-value]

    def give_up_hanging(self, seconds: float) -> None:
        self.given_up += 1


@in_virtual_time
async def test_one_late_answer_is_no_absence_however_many_ask() -> None:
    database = LateOnce()
    health = DatabaseHealth(database, [database])
    answers = await asyncio.gather(*(health.require() for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in answers] == 3 * [DatabaseUnavailableError]
    database.late = False
    await health.require()
    assert (database.asked, database.given_up) == (2, 0)
