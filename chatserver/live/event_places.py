"""Where the events of a journal end: by their count, and by the characters of the answer; no I/O."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right


class EventPlaces:
    """The ends of all events since `cursor`, in stretches; the last stretch is the open one.

    A cursor is a number of events. `chars`: how many characters of the answer stand before the first event.
    """

    __slots__ = ("_chars_before", "_cursors", "ends", "open_is_answer")

    def __init__(self, cursor: int, chars: int) -> None:
        # Where each stretch begins: its cursor, and the characters of the answer before it.
        self._cursors = array("I", [cursor])
        self._chars_before = array("I", [chars])
        self.ends: list[array[int]] = [array("H")]
        """Of each stretch, for each of its events: how many characters of it stand up to and with the event."""
        self.open_is_answer = True
        """Whether the open stretch is of the answer, and not of the model's thinking."""

    @property
    def open_start(self) -> int:
        """The cursor before the open stretch."""
        return self._cursors[-1]

    def complete(self, cursor: int, chars: int) -> array[int]:
        """Complete the open stretch, which ends at that cursor, behind so many characters; the ends of the next one."""
        self.ends[-1] = self.ends[-1][:]  # a copy has no room to grow
        self._cursors.append(cursor)
        self._chars_before.append(chars)
        opened = array("H")
        self.ends.append(opened)
        return opened

    def stretch_at(self, cursor: int) -> tuple[int, int]:
        """The stretch that has the event behind a cursor: its number, and how many of its events stand before."""
        number = bisect_right(self._cursors, cursor) - 1
        return number, cursor - self._cursors[number]

    def end_of(self, number: int) -> int:
        """The cursor behind a stretch."""
        return self._cursors[number] + len(self.ends[number])

    def chars_before(self, cursor: int) -> int:
        """How many characters of the answer stand before a cursor."""
        number = bisect_left(self._cursors, cursor) - 1
        if number < 0:
            return self._chars_before[0]
        before = self._chars_before[number]
        if not self._is_answer(number):
            return before
        return before + self.ends[number][cursor - self._cursors[number] - 1]

    def _is_answer(self, number: int) -> bool:
        if number == len(self.ends) - 1:
            return self.open_is_answer
        return self._chars_before[number + 1] > self._chars_before[number]

    def cursor_at(self, chars: int) -> tuple[int, int] | None:
        """Where so many characters of the answer have been taken: a cursor, and the characters taken behind it.

        None if there are not so many. Thinking that stands at that place is still to come.
        """
        number = bisect_left(self._chars_before, chars)
        if number < len(self.ends) and self._chars_before[number] == chars:
            return self._cursors[number], 0
        number -= 1
        if number < 0 or not self._is_answer(number):
            return None
        ends, rest = self.ends[number], chars - self._chars_before[number]
        at = bisect_left(ends, rest)
        if at == len(ends):
            return None
        if ends[at] == rest:
            return self._cursors[number] + at + 1, 0
        return self._cursors[number] + at, rest - (ends[at - 1] if at else 0)
