"""Removing what is old, in the background: by one process at a time, in small steps, as heavy calls.

Each step takes its turn in the lane of heavy calls, as if a company of its own asked for it, and is followed by a pause
that is as long as the step: users hardly feel it. If the process dies, another one goes on after CLAIM_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import groupby
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Row

from chatserver import logs
from chatserver.errors import UnavailableError
from chatserver.settings import Settings
from chatserver.storage import audit, erase_many, jobs, retention
from chatserver.storage.company_bounds import forget_streams
from chatserver.storage.postgres.database import Database
from chatserver.storage.postgres.heavy import StatementTimeoutError
from chatserver.storage.postgres.vacuum import TABLES, renew_samples
from chatserver.storage.retention import Rule, Rules
from chatserver.storage.sign_in import Lifetimes

logger = logging.getLogger(__name__)

T = TypeVar("T")

JOB = "housekeeping"
EVERY_SECONDS = 3_600.0
# For how long a process has the job. It is told anew with each step.
CLAIM_SECONDS = 300.0
# How often a process looks whether the job is due: not all processes at the same time.
LOOK_SECONDS = 60.0
# Entries of the audit log that are removed in one step.
ENTRIES_A_STEP = 1_000
LEAST_PAUSE_SECONDS = 0.02

# Stands for a company in the lane of heavy calls.
_NOBODY = UUID(int=0)


def rules_of(settings: Settings) -> Rules:
    """The rules of the settings, with those of single companies."""
    companies = settings.companies.items()
    return Rules(
        retention=Rule(
            settings.retention_days,
            {company: own.retention_days for company, own in companies if own.retention_days is not None},
        ),
        purge=Rule(
            settings.purge_deleted_days,
            {company: own.purge_deleted_days for company, own in companies if own.purge_deleted_days is not None},
        ),
    )


class Housekeeping:
    """Works from `start` to `close`."""

    def __init__(
        self, database: Database, rules: Rules, lifetimes: Lifetimes, *, audit_days: int, forget: Callable[[UUID], None]
    ) -> None:
        """`audit_days` 0: the audit log is kept for ever.

        `forget`: called with each company of which texts were erased, once.
        """
        self._calls = database.heavy(_NOBODY)
        self._rules = rules
        self._lifetimes = lifetimes
        self._audit_days = audit_days
        self._forget = forget
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether it works, or waits until there is work."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin to look whether there is work. No effect if it does already, or after `close`."""
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._repeat(), context=logs.without_request())

    async def close(self) -> None:
        """Work no more. A step that is under way is cancelled, and has no effect. May be called again."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.5, 1))  # noqa: S311 (nothing secret)
            try:
                await self.work_if_due()
            except UnavailableError as error:  # it is due again when the claim is over
                logger.info("housekeeping waits: %s", error.message)
            except Exception:
                logger.exception("housekeeping")

    async def work_if_due(self) -> bool:
        """Do all that there is to do, if it is due and no other process does it; False: it is not.

        What fails is told in the log, and the rest is done without it. Raises UnavailableError.
        """
        if not await self._calls.autocommit(jobs.claim, JOB, CLAIM_SECONDS):
            return False
        for work in (
            self._erase_old,
            self._remove_entries,
            self._remove_sessions,
            self._remove_counts,
            self._renew_samples,
        ):
            await self._tried(work)
        await self._calls.autocommit(jobs.postpone, JOB, EVERY_SECONDS)
        return True

    async def _erase_old(self) -> None:
        """Read the table of conversations once."""
        if self._rules.are_off:
            return
        erased: Counter[UUID] = Counter()
        try:
            await self._erase_pages(erased)
        finally:
            for company in erased:
                self._forget(company)
            if erased:
                logger.info("housekeeping erased %d conversations", erased.total())

    async def _erase_pages(self, erased: Counter[UUID]) -> None:
        after = erase_many.FIRST
        while after != erase_many.LAST:
            end = await self._calls.autocommit(erase_many.page_end, after)
            due = partial(retention.due, rules=self._rules, after=after, end=end)
            rows = await self._step(self._calls.transaction(due))
            for _, group in groupby(rows, key=lambda row: (row.company_id, row.setting, row.days)):
                for step in erase_many.in_steps(list(group)):
                    if not await self._tried(partial(self._erase, step, erased)) and len(step) > 1:
                        for row in step:  # all but the one that cannot be erased
                            await self._tried(partial(self._erase, [row], erased))
            after = end

    async def _erase(self, rows: Sequence[Row[Any]], erased: Counter[UUID]) -> None:
        """Erase conversations that are due by one setting of one company."""
        company_id = rows[0].company_id
        erase = partial(
            retention.erase_due,
            rules=self._rules,
            company_id=company_id,
            setting=rows[0].setting,
            days=rows[0].days,
            conversation_ids=[row.id for row in rows],
        )
        if number := await self._step(self._calls.transaction(erase)):
            erased[company_id] += number

    async def _remove_entries(self) -> None:
        if not self._audit_days:
            return
        remove = partial(audit.remove_older, days=self._audit_days, limit=ENTRIES_A_STEP)
        while await self._step(self._calls.transaction(remove)) == ENTRIES_A_STEP:
            pass

    async def _remove_sessions(self) -> None:
        remove = partial(retention.remove_sessions, lifetimes=self._lifetimes)
        while await self._step(self._calls.transaction(remove)):
            pass

    async def _remove_counts(self) -> None:
        """Of the open streams of processes that died."""
        await self._step(self._calls.autocommit(forget_streams, _NOBODY))

    async def _renew_samples(self) -> None:
        # A little more than the time since it was done before.
        if await self._calls.autocommit(retention.was_erased, 2 * EVERY_SECONDS):
            for table in TABLES:
                await self._tried(partial(self._renew_samples_of, table))

    async def _renew_samples_of(self, table: str) -> None:
        await self._step(self._calls.autocommit(renew_samples, table))

    async def _tried(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Whether it could be done. Raises UnavailableError: then nothing else can be done, either."""
        try:
            await work()
        except Exception as error:
            if isinstance(error, UnavailableError) and not isinstance(error, StatementTimeoutError):
                raise
            logger.exception("housekeeping")
            return False
        return True

    async def _step(self, call: Coroutine[Any, Any, T]) -> T:
        """One call of the database, and a pause that is as long."""
        clock = asyncio.get_running_loop().time
        began = clock()
        done = await call
        await self._calls.autocommit(jobs.postpone, JOB, CLAIM_SECONDS)
        await asyncio.sleep(max(LEAST_PAUSE_SECONDS, clock() - began))
        return done
