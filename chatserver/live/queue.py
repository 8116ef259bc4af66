"""The answers of one conversation in this process: their order, their lock, and whose turn it is.

Answers wait for those of other processes, too: the first of each process asks the database whether it is its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, Protocol, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from chatserver.live.outcomes import Place, RunKey
from chatserver.one_at_a_time import OneAtATime


class Queued(Protocol):
    """A run, as its queue sees it."""

    @property
    def key(self) -> RunKey: ...
    @property
    def owned(self) -> bool:
        """Whether this process generates the answer."""

    @property
    def place(self) -> Place | None:
        """Where it waits for its turn, among all processes."""


Q = TypeVar("Q", bound=Queued)


class ConversationQueue(Generic[Q]):
    """The runs of one conversation in the order of their turns.

    Only the first may claim its answer. Any may follow a run of another process.
    """

    def __init__(self) -> None:
        self._lock = OneAtATime()
        self._runs: list[Q] = []
        self._turns: dict[int, asyncio.Future[None]] = {}
        """By the identity of a run: what it waits for."""
        self.hint = asyncio.Event()
        """Set when another process tells that it may be the turn of an answer of this one."""

    @asynccontextmanager
    async def locked(self, *, tries_anyway: bool = False) -> AsyncIterator[None]:
        """In here nobody else claims or adds a run of the conversation. See `OneAtATime.held`."""
        async with self._lock.held(tries_anyway=tries_anyway):
            yield

    @property
    def runs(self) -> Sequence[Q]:
        """The runs in the order of their turns."""
        return tuple(self._runs)

    @property
    def owned(self) -> Q | None:
        """The run that this process generates, if there is one."""
        return next((run for run in self._runs if run.owned), None)

    def find(self, key: RunKey) -> Q | None:
        """The run of that answer."""
        return next((run for run in self._runs if run.key == key), None)

    def add(self, run: Q) -> None:
        """Add a run at its place, or at the end if it has none."""
        place = run.place
        at = len(self._runs)
        if place is not None:
            later = (
                index
                for index, other in enumerate(self._runs)
                if other.place is not None and other.place.number > place.number
            )
            at = next(later, at)
        self._runs.insert(at, run)

    def remove(self, run: Q) -> None:
        """Remove a run that has ended. It is then the next one's turn."""
        self._runs.remove(run)
        if self._runs:
            turn = self._turns.get(id(self._runs[0]))
            if turn is not None and not turn.done():
                turn.set_result(None)

    def is_first(self, run: Q) -> bool:
        return self._runs[0] is run

    async def wait_for_turn(self, run: Q) -> None:
        """Return when the run is the first."""
        if self.is_first(run):
            return
        turn = self._turns[id(run)] = asyncio.get_running_loop().create_future()
        try:
            await turn
        finally:
            del self._turns[id(run)]


class Queues(Generic[Q]):
    """The queues of all conversations. From `max_runs` runs on they are `full`; `add` does not check it.

    A queue without runs is forgotten when nobody uses it any more.
    """

    def __init__(self, max_runs: int) -> None:
        self._max_runs = max_runs
        self._reserved = 0
        self._runs: dict[Q, ConversationQueue[Q]] = {}
        self._queues: WeakValueDictionary[UUID, ConversationQueue[Q]] = WeakValueDictionary()

    def __len__(self) -> int:
        """How many runs there are."""
        return len(self._runs)

    def __iter__(self) -> Iterator[Q]:
        """The runs that there are now; meanwhile more may come, and some may go."""
        return iter(tuple(self._runs))

    def hint(self, conversation_id: UUID | None = None) -> None:
        """It may be the turn of an answer of this process, in this conversation or (None) in any."""
        queues = list(self._queues.values()) if conversation_id is None else [self._queues.get(conversation_id)]
        for queue in queues:
            if queue is not None:
                queue.hint.set()

    def of(self, conversation_id: UUID) -> ConversationQueue[Q]:
        """The queue of a conversation."""
        queue = self._queues.get(conversation_id)
        if queue is None:
            queue = self._queues[conversation_id] = ConversationQueue()
        return queue

    def add(self, run: Q) -> None:
        """Add a run to the queue of its conversation; see `ConversationQueue.add`."""
        queue = self._runs[run] = self.of(run.key.conversation_id)
        queue.add(run)

    def remove(self, run: Q) -> None:
        """Remove a run that has ended."""
        self._runs.pop(run).remove(run)

    @property
    def full(self) -> bool:
        """Whether there is no room for a further run."""
        return len(self._runs) + self._reserved >= self._max_runs

    @contextmanager
    def reserve(self) -> Iterator[bool]:
        """Keep room for one run in here. Yields False if there is none."""
        has_room = not self.full
        self._reserved += 1
        try:
            yield has_room
        finally:
            self._reserved -= 1
