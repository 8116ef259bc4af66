"""Writing the audit log, where no transaction of a change writes it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from chatserver.audit_events import AdministratorRead, AuditEvent, SignInFailed
from chatserver.metrics import Metrics
from chatserver.one_at_a_time import OneAtATime
from chatserver.services.access import Actor
from chatserver.services.owners import Owners
from chatserver.storage import audit
from chatserver.storage.postgres.database import Database

# For how long one entry says that an administrator reads in a company.
READ_SECONDS = 600.0
# Of how many administrators' companies this process remembers that. For one that is forgotten, there is an entry more.
MAX_READS = 10_000
# The most failed sign-ins that this process writes down in a minute. The next entry tells how many more there were.
FAILURES_A_MINUTE = 60


class AuditLog:
    """Every entry is written before what it is about goes on. Raises DatabaseUnavailableError: then it does not."""

    clock: Callable[[], float] = staticmethod(time.monotonic)
    """Seconds."""

    def __init__(self, database: Database, owners: Owners, metrics: Metrics) -> None:
        self._database = database
        self._owners = owners
        self._metrics = metrics
        self._reads: OrderedDict[tuple[UUID | str, UUID], float] = OrderedDict()
        self._reading = OneAtATime()
        self._minute = 0
        self._failures = 0
        self._refused: set[UUID] = set()
        self._unrecorded = 0

    async def record(self, event: AuditEvent, *, actor: str | None = None, token_id: UUID | None = None) -> None:
        """Add an entry. `actor` and `token_id`: in place of who sent the request."""
        await self._database.autocommit(audit.record, event, actor=actor, token_id=token_id)

    async def sign_in_failed(
        self, event: SignInFailed, *, actor: str | None = None, token_id: UUID | None = None
    ) -> None:
        """Add an entry about a refused token, or only count it, if there are too many: nobody shall fill the disk."""
        minute = int(self.clock() // 60)
        if minute != self._minute:
            self._minute, self._failures = minute, 0
            self._refused.clear()
        # Of a token that was good once, each process tells once a minute, whatever else is going on.
        is_told = token_id is None or token_id in self._refused
        if is_told and self._failures >= FAILURES_A_MINUTE:
            self._unrecorded += 1
            self._metrics.unrecorded_sign_ins.inc()
            return
        if token_id is not None:
            self._refused.add(token_id)
        self._failures += 1
        unrecorded, self._unrecorded = self._unrecorded, 0
        try:
            await self.record(replace(event, unrecorded=unrecorded), actor=actor, token_id=token_id)
        except BaseException:  # it may be there nevertheless: then they are told twice, rather than never
            self._unrecorded += unrecorded + 1
            self._metrics.unrecorded_sign_ins.inc()
            raise

    async def administrator_reads(self, actor: Actor, kind: str, resource_id: UUID) -> None:
        """Tell that an administrator reads a company's resource. `kind`: the resource's segment in paths.

        One entry tells it for READ_SECONDS, of a token and a company.
        """
        company_id = await self._owners.company_of(kind, resource_id)
        if company_id is None:
            return
        by = actor.name if actor.access is None else actor.access.token_id
        key = by, company_id
        if self._is_told(key):
            return
        async with self._reading.held():  # of requests that come together, one writes it, and the others wait
            if self._is_told(key):
                return
            await self.record(AdministratorRead(company_id=company_id))
            self._reads[key] = self.clock() + READ_SECONDS
            self._reads.move_to_end(key)
            if len(self._reads) > MAX_READS:
                self._reads.popitem(last=False)

    def _is_told(self, key: tuple[UUID | str, UUID]) -> bool:
        return self._reads.get(key, 0.0) > self.clock()
