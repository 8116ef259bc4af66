"""Brings the events of answers that this process generates to the processes that have readers of them.

Answers that nobody follows elsewhere cost nothing. Of all others, what has come goes into the database as one
statement, about every SHARE_SECONDS. There whoever follows finds all events of the present epoch, the first included.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from uuid import UUID

from chatserver.errors import DatabaseUnavailableError
from chatserver.live.background import BackgroundTask
from chatserver.live.journal import Journal
from chatserver.live.sharing_store import SharedEvents, SharingStore

logger = logging.getLogger(__name__)

# How long after the beginning of a write the next one begins, at the earliest.
SHARE_SECONDS = 0.025
# The same after a write that failed.
RETRY_SECONDS = 0.5
# About how many characters one row has, and all rows of a write; how many rows these are at most.
ROW_CHARS = 16_384
WRITE_CHARS = 1_048_576
ROWS_AT_ONCE = 256


class _Shared:
    """An answer that other processes follow. Its events up to and with number `seq` of `epoch` are written."""

    __slots__ = ("epoch", "journal", "seq", "wake")

    def __init__(self, journal: Journal, wake: Callable[[_Shared], None]) -> None:
        self.journal = journal
        self.epoch = journal.epoch
        self.seq = 0
        self.wake = lambda: wake(self)


class Sharing:
    """The answers of this process that other processes follow. Belongs to the loop's thread."""

    def __init__(self, store: SharingStore) -> None:
        self._store = store
        self._shared: dict[Journal, _Shared] = {}
        self._behind: dict[_Shared, None] = {}
        """Those that have events which are not written yet."""
        self._withdrawn: set[Journal] = set()
        self._to_tell: set[UUID] = set()
        self._writing: set[Journal] = set()
        self._written = asyncio.Event()
        self._work = BackgroundTask(self._repeat)

    def share(self, journal: Journal, followed: bool = True) -> None:
        """Other processes follow this answer from now on, or do not any more. May be repeated."""
        if followed and journal not in self._shared and journal not in self._withdrawn:
            shared = self._shared[journal] = _Shared(journal, self._has_more)
            journal.add_waker(shared.wake)
            self._has_more(shared)
        elif not followed:
            self._forget(journal)

    @contextlib.asynccontextmanager
    async def withdrawn(self, journal: Journal) -> AsyncIterator[None]:
        """In here the run is written to, and nothing of its answer is: that would stay in the database.

        Whoever followed it is told afterwards that the answer has ended, or is begun anew.
        """
        was_followed = journal in self._shared
        # A renewal that comes meanwhile says that it is still followed.
        self._withdrawn.add(journal)
        try:
            self._forget(journal)
            while journal in self._writing:
                await self._written.wait()
            yield
        finally:
            self._withdrawn.discard(journal)
        if was_followed:
            self._to_tell.add(journal.run_id)
            self._work.start()

    async def close(self) -> None:
        """Tell what is still to be told, and write no more. May be called again."""
        await self._work.close()

    def _forget(self, journal: Journal) -> None:
        shared = self._shared.pop(journal, None)
        if shared is not None:
            journal.remove_waker(shared.wake)
            self._behind.pop(shared, None)

    def _has_more(self, shared: _Shared) -> None:
        self._behind[shared] = None
        self._work.start()

    # --- the task -----------------------------------------------------------------------------------------

    async def _repeat(self) -> None:
        clock = asyncio.get_running_loop().time
        while self._behind or self._to_tell:
            next_at = clock() + SHARE_SECONDS
            try:
                await self._write()
                await self._tell()
            except DatabaseUnavailableError:
                next_at = clock() + RETRY_SECONDS
            except Exception:
                logger.exception("events could not be shared with other processes")
                next_at = clock() + RETRY_SECONDS
            await asyncio.sleep(max(0.0, next_at - clock()))

    async def _tell(self) -> None:
        told = tuple(self._to_tell)
        if told:
            self._to_tell.clear()
            # If this fails, those who follow find out by looking.
            await self._store.tell(told)

    async def _write(self) -> None:
        rows, upto = self._next_rows()
        if not rows:
            return
        self._writing = {shared.journal for shared in upto}
        try:
            missing = await self._store.share(rows)
        except BaseException:
            # Perhaps it was written, perhaps not.
            for shared in upto:
                self._write_anew(shared)
            raise
        finally:
            self._writing = set()
            self._written.set()
            self._written = asyncio.Event()
        for shared, (epoch, seq) in upto.items():
            if shared.journal.run_id in missing:
                self._write_anew(shared)
            elif shared.epoch == epoch:
                shared.seq = seq

    def _write_anew(self, shared: _Shared) -> None:
        """Write all events of the epoch again."""
        shared.seq = 0
        if shared.journal in self._shared:
            self._behind[shared] = None

    def _next_rows(self) -> tuple[Sequence[SharedEvents], dict[_Shared, tuple[int, int]]]:
        """What is to be written next, and for each answer the epoch and the number up to which it is written then."""
        rows: list[SharedEvents] = []
        upto: dict[_Shared, tuple[int, int]] = {}
        chars = 0
        for shared in tuple(self._behind):
            journal = shared.journal
            if shared.epoch != journal.epoch:
                shared.epoch, shared.seq = journal.epoch, 0
            seq = shared.seq
            while seq < journal.seq and len(rows) < ROWS_AT_ONCE and chars < WRITE_CHARS:
                texts, last = journal.texts_since(seq, ROW_CHARS)
                chars += sum(len(piece) for _, pieces in texts for piece in pieces)
                rows.append(SharedEvents(journal.run_id, journal.epoch, seq, last, texts))
                seq = last
            if seq >= journal.seq:
                del self._behind[shared]
            if seq > shared.seq:
                upto[shared] = (journal.epoch, seq)
            if len(rows) >= ROWS_AT_ONCE or chars >= WRITE_CHARS:
                break
        return rows, upto
