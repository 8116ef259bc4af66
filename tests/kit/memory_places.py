"""The queue of all processes in memory, with the promises of `storage/places.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from chatserver.live.outcomes import Place, RunKey

PLACE_SECONDS = 3.0


@dataclass
class Entry:
    """A place that a process holds."""

    place: Place
    key: RunKey
    process: UUID
    until: float
    stopped: bool = False


class MemoryPlaces:
    """`tell` tells a process what there is to look at."""

    def __init__(self, clock: Callable[[], float], tell: Callable[[UUID, str], None]) -> None:
        self.entries: dict[UUID, Entry] = {}
        self.tell = tell
        self._clock = clock
        self._newest = 0

    def of(self, conversation_id: UUID) -> Iterator[Entry]:
        for entry in self.entries.values():
            if entry.key.conversation_id == conversation_id and entry.until > self._clock():
                yield entry

    def same(self, key: RunKey, but: UUID | None = None) -> int | None:
        """The lowest place of the same answer; `but`: without those of this process."""
        return min(
            (each.place.number for each in self.of(key.conversation_id) if each.key == key and each.process != but),
            default=None,
        )

    def others(self, key: RunKey, process: UUID) -> int | None:
        """The lowest place of other answers at other processes."""
        mine = key.conversation_id
        return min(
            (each.place.number for each in self.of(mine) if each.key != key and each.process != process), default=None
        )

    def put(
        self, place_id: UUID, key: RunKey, process: UUID, *, in_front: bool = False, interrupts: bool = False
    ) -> Place:
        number = self.same(key)
        if number is None and in_front:
            number = min((each.place.number for each in self.of(key.conversation_id)), default=None)
            number = None if number is None else number - 1
        if number is None:
            number = self._newest = self._newest + 1
        place = Place(place_id, number, interrupts)
        self.hold(place, key, process)
        return place

    def hold(self, place: Place, key: RunKey, process: UUID) -> None:
        until = self._clock() + PLACE_SECONDS
        self.entries.setdefault(place.id, Entry(place, key, process, until)).until = until

    def stop_interrupting(self, key: RunKey, process: UUID) -> None:
        for entry in self.of(key.conversation_id):
            if entry.place.interrupts and entry.key != key and entry.process != process:
                entry.stopped = True
                self.tell(entry.process, f"run {entry.place.id}")

    def tell_next(self, conversation_id: UUID) -> None:
        """Tell those whose turn it may be."""
        first = min((each.place.number for each in self.of(conversation_id)), default=None)
        for entry in self.of(conversation_id):
            if entry.place.number == first:
                self.tell(entry.process, f"turn {conversation_id}")

    def tell_others_begun(self, key: RunKey, process: UUID) -> None:
        for entry in self.of(key.conversation_id):
            if entry.key == key and entry.process != process:
                self.tell(entry.process, f"turn {key.conversation_id}")

    def leave(self, place_id: UUID) -> None:
        entry = self.entries.pop(place_id, None)
        if entry is not None:
            self.tell_next(entry.key.conversation_id)
