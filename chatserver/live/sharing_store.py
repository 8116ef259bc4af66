"""What the live layer asks of the storage to bring answers to the readers of other processes: a Protocol.

`services/sharing_store.py` implements it on PostgreSQL, the tests have it in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from chatserver.live.journal import Texts
from chatserver.live.outcomes import RunState


@dataclass(frozen=True, slots=True)
class SharedEvents:
    """Events of a run in one epoch: those behind number `after`, up to and with number `seq`."""

    run_id: UUID
    epoch: int
    after: int
    seq: int
    texts: Texts


@dataclass(frozen=True, slots=True)
class Position:
    """How far a process has the events of a run: up to and with number `seq` of the epoch."""

    run_id: UUID
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Look:
    """A run of another process: its state, its owner, and events of its present epoch, in their order.

    `owner` None: no process holds it. `more`: there are further events.
    """

    state: RunState
    owner: UUID | None = None
    events: Sequence[SharedEvents] = ()
    more: bool = False


class SharingStore(Protocol):
    """Events of answers, written by the process that generates them and read by those that follow.

    Every method may raise DatabaseUnavailableError; one that raised it may have taken effect. All may be repeated.
    """

    async def share(self, events: Sequence[SharedEvents]) -> Collection[UUID]:
        """Write events of this process's runs, and tell those who follow.

        What belongs to a run that this process does not hold in that epoch is left out. Also left out is what is behind
        events that are not there, because the database lost them: the runs of those are returned.
        """

    async def tell(self, run_ids: Collection[UUID]) -> None:
        """Tell those who follow that something else happened to these runs of this process, such as their end."""

    async def follow(self, run_ids: Collection[UUID]) -> None:
        """This process has readers of these runs, for the next seconds. Their owners are told of new ones."""

    async def unfollow(self, run_ids: Collection[UUID]) -> None:
        """This process has no readers of these runs any more. Their owners are told."""

    async def look(self, positions: Sequence[Position]) -> Mapping[UUID, Look]:
        """The state of each of these runs, and what is missing here of its events."""


class Hints(Protocol):
    """Notifications of other processes. One that gets lost only delays what it would have hastened."""

    def listen(self, process: UUID, heard: Callable[[str], None]) -> None:
        """Call `heard` when that process has shared events or ended runs: with their ids, in hexadecimal, and spaces.

        With an empty text: any of its runs may be meant.
        """

    def unlisten(self, process: UUID) -> None:
        """Listen to that process no more."""
