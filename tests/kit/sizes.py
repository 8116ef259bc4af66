"""How much memory an object holds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping


def held_bytes(holder: object) -> int:
    """The bytes of an object with slots: of its attributes, and of what these hold in lists, sets, tuples and mappings.

    Each object counts once. Capacity that lists, arrays and byte arrays keep for growth counts too.
    """
    counted: set[int] = set()

    def size(value: object) -> int:
        if id(value) in counted:
            return 0
        counted.add(id(value))
        inner: Iterable[object] = ()
        if isinstance(value, Mapping):
            inner = (*value.keys(), *value.values())
        elif isinstance(value, list | set | tuple):
            inner = value
        return sys.getsizeof(value) + sum(map(size, inner))

    names = [name for name in type(holder).__slots__ if hasattr(holder, name)]  # type: ignore[attr-defined]
    return sys.getsizeof(holder) + size([getattr(holder, name) for name in names])
