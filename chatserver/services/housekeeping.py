"""Removing what is old, in the background: by one process at a time, in small steps, as heavy calls.

Each step takes its turn in the lane of heavy calls, as if a company of its own asked for it, and is followed by a pause
that is as long as the step: users hardly feel it. If the process dies, another one goes on after CLAIM_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import TypeVar
from uuid import UUID

from chatserver import logs
from chatserver.errors import UnavailableError
from chatserver.settings import Settings
from chatserver.storage import audit, erase_many, jobs, retention
from chatserver.storage.postgres.database import Database
from chatserver.storage.postgres.vacuum import renew_samples
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
        self, database: Database, rules: Rules, lifetimes: Lifetimes, *, audit_days: int, forget: Callable[[], None]
    ) -> None:
        """`audit_days` 0: the audit log is kept for ever. `forget`: called after texts were erased."""
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

        Raises UnavailableError.
        """
        if not await self._calls.autocommit(jobs.claim, JOB, CLAIM_SECONDS):
            return False
        erased = 0 if self._rules.are_off else await self._erase_old()
        if self._audit_days:
            remove = partial(audit.remove_older, days=self._audit_days, limit=ENTRIES_A_STEP)
            while await self._step(remove) == ENTRIES_A_STEP:
                pass
        while await self._step(partial(retention.remove_sessions, lifetimes=self._lifetimes)):
            pass
        await self._step(retention.remove_streams)
        # A little more than the time since it was done before.
        if await self._calls.autocommit(retention.was_erased, 2 * EVERY_SECONDS):
            await self._calls.autocommit(renew_samples)
        await self._calls.autocommit(jobs.postpone, JOB, EVERY_SECONDS)
        if erased:
            logger.info("housekeeping erased %d conversations", erased)
        return True

    async def _erase_old(self) -> int:
        """Read the table of conversations once; how many were erased."""
        erased, after = 0, erase_many.FIRST
        while True:
            end = await self._calls.autocommit(erase_many.page_end, after)
            rows = await self._step(partial(retention.due, rules=self._rules, after=after, end=end))
            for (company_id, setting, days), group in groupby(
                rows, key=lambda row: (row.company_id, row.setting, row.days)
            ):
                for step in erase_many.in_steps(list(group)):
                    erase = partial(
                        retention.erase_due,
                        rules=self._rules,
                        company_id=company_id,
                        setting=setting,
                        days=days,
                        conversation_ids=[row.id for row in step],
                    )
                    erased += await self._step(erase)
                    self._forget()
            if end == erase_many.LAST:
                return erased
            after = end

    async def _step(self, function: Callable[..., T]) -> T:
        """One transaction, and a pause that is as long."""
        clock = asyncio.get_running_loop().time
        began = clock()
        done: T = await self._calls.transaction(function)
        await self._calls.autocommit(jobs.postpone, JOB, CLAIM_SECONDS)
        await asyncio.sleep(max(LEAST_PAUSE_SECONDS, clock() - began))
        return done
