"""Brings the events of answers that other processes generate to the readers of this one.

All answers that are followed here are looked at with one statement: when their owners say that there is something new,
and every POLL_SECONDS in any case.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection
from uuid import UUID

from chatserver.errors import DatabaseUnavailableError
from chatserver.live.background import BackgroundTask
from chatserver.live.journal import Journal
from chatserver.live.outcomes import Elsewhere, RunOver
from chatserver.live.sharing_store import Hints, Look, Position, SharedEvents, SharingStore

logger = logging.getLogger(__name__)

# How often each run is looked at, whatever its owner says.
POLL_SECONDS = 0.5
# How often the owners are told that there are still readers here. They believe it for three times as long.
INTEREST_SECONDS = 1.0
# How many runs one statement looks at.
RUNS_AT_ONCE = 64
# After a row of so many events everything else has a turn of the loop.
MANY_EVENTS = 200


class _Followed:
    """A run of another process. `state`: what has become of it, once that process does not generate it any more."""

    __slots__ = ("journal", "owner", "run_id", "state")

    def __init__(self, journal: Journal, state: asyncio.Future[RunOver]) -> None:
        self.run_id = journal.run_id
        self.journal = journal
        self.state = state
        self.owner: UUID | None = None


class Following:
    """The runs of other processes that have readers here. Belongs to the loop's thread."""

    def __init__(self, store: SharingStore, hints: Hints) -> None:
        self._store = store
        self._hints = hints
        self._runs: dict[UUID, _Followed] = {}
        self._by_owner: dict[UUID, dict[str, UUID]] = {}
        """The runs of each owner, by their names in what it says."""
        self._new: set[UUID] = set()
        self._left: set[UUID] = set()
        self._due: set[UUID] = set()
        """Those that are to be looked at now."""
        self._wake = asyncio.Event()
        self._work = BackgroundTask(self._repeat)

    async def follow(self, journal: Journal) -> RunOver:
        """Append the events of the journal's run to the journal, while another process generates it.

        Returns what has become of the run then. New epochs are told to the readers of the journal.
        """
        followed = _Followed(journal, asyncio.get_running_loop().create_future())
        run_id = followed.run_id
        assert run_id not in self._runs, "a run has one follower in each process"
        self._runs[run_id] = followed
        self._left.discard(run_id)
        self._new.add(run_id)
        self._start()
        try:
            return await followed.state
        finally:
            del self._runs[run_id]
            self._new.discard(run_id)
            self._due.discard(run_id)
            self._listen(followed, None)
            if followed.state.cancelled():
                self._left.add(run_id)
                self._start()

    async def close(self) -> None:
        """Tell what is still to be told, and look no more. May be called again."""
        await self._work.close()

    def _start(self) -> None:
        self._wake.set()
        self._work.start()

    # --- hints --------------------------------------------------------------------------------------------

    def _listen(self, followed: _Followed, owner: UUID | None) -> None:
        """Listen to the owner of a run, and to nobody else because of it."""
        before, followed.owner = followed.owner, owner
        if before == owner:
            return
        if before is not None:
            names = self._by_owner[before]
            del names[followed.run_id.hex]
            if not names:
                del self._by_owner[before]
                self._hints.unlisten(before)
        if owner is not None:
            is_new = owner not in self._by_owner
            self._by_owner.setdefault(owner, {})[followed.run_id.hex] = followed.run_id
            if is_new:
                self._hints.listen(owner, lambda said: self._heard(owner, said))

    def _heard(self, owner: UUID, said: str) -> None:
        names = self._by_owner.get(owner, {})
        self._due.update(names.values() if not said else (names[name] for name in said.split(" ") if name in names))
        if self._due:
            self._wake.set()

    # --- the task -----------------------------------------------------------------------------------------

    async def _repeat(self) -> None:
        clock = asyncio.get_running_loop().time
        poll_at = tell_at = clock()
        while self._runs or self._left:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(poll_at):
                    await self._wake.wait()
            self._wake.clear()
            now = clock()
            if now >= poll_at:
                poll_at = now + POLL_SECONDS
                self._due.update(self._runs)
            self._due |= self._new
            try:
                await self._tell_owners(all_of_them=now >= tell_at)
                if now >= tell_at:
                    tell_at = now + INTEREST_SECONDS
                await self._look()
            except DatabaseUnavailableError:
                pass
            except Exception:
                logger.exception("answers of other processes could not be followed")

    async def _tell_owners(self, *, all_of_them: bool) -> None:
        """Tell owners of readers that have left, and of those that are here."""
        left, self._left = self._left, set()
        if left:
            # If this fails, the interest ends by itself.
            await self._store.unfollow(left)
        here = set(self._runs) if all_of_them else set(self._new)
        if here:
            await self._store.follow(here)
            self._new -= here

    async def _look(self) -> None:
        due, self._due = [run_id for run_id in self._due if run_id in self._runs], set()
        for at in range(0, len(due), RUNS_AT_ONCE):
            await self._look_at(due[at : at + RUNS_AT_ONCE])

    async def _look_at(self, run_ids: Collection[UUID]) -> None:
        journals = [self._runs[run_id].journal for run_id in run_ids if run_id in self._runs]
        looks = await self._store.look([Position(each.run_id, each.epoch, each.seq) for each in journals])
        for run_id, look in looks.items():
            followed = self._runs.get(run_id)
            if followed is not None and not followed.state.done():
                await self._take(followed, look)

    async def _take(self, followed: _Followed, look: Look) -> None:
        state, journal = look.state, followed.journal
        if not isinstance(state, Elsewhere):
            followed.state.set_result(state)
            return
        self._listen(followed, look.owner)
        if state.epoch != journal.epoch:
            journal.reset(state.run_id, state.epoch)
        for events in look.events:
            _append(journal, events)
            if events.seq - events.after >= MANY_EVENTS:
                await asyncio.sleep(0)
                if self._runs.get(followed.run_id) is not followed:
                    return
        if look.more:
            self._due.add(followed.run_id)
            self._wake.set()


def _append(journal: Journal, events: SharedEvents) -> None:
    """Append those events that the journal does not have. If some before them are missing, none."""
    have = journal.seq - events.after
    if events.epoch != journal.epoch or have < 0:
        return
    for kind, pieces in events.texts:
        if have < len(pieces):
            journal.append(kind, pieces[have:] if have else pieces)
        have = max(0, have - len(pieces))
