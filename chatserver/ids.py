"""Ids: of resources, ordered by time, UUID version 7 (RFC 9562, section 5.7); and of requests."""

from __future__ import annotations

import os
import time
from uuid import UUID

# The system is asked for random bytes of so many ids at once: asking costs more than all the rest of an id.
_AT_ONCE = 256
_random: list[bytes] = []


def uuid7() -> UUID:
    """A new id. The ids of one process compare in the order in which they were made.

    The twelve bits after the milliseconds hold the fraction of the millisecond (RFC 9562, section 6.2, method 3),
    so no state is kept between calls; the other 62 bits are random.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = (nanoseconds << 12) // 1_000_000
    random = int.from_bytes(_random_bytes()[:8]) & ((1 << 62) - 1)
    return UUID(int=(milliseconds & ((1 << 48) - 1)) << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random)


def new_request_id() -> str:
    """A random id of 32 hexadecimal digits."""
    return _random_bytes().hex()


def _random_bytes() -> bytes:
    """16 random bytes, which nobody else gets. May be called from any thread."""
    try:
        return _random.pop()
    except IndexError:
        block = os.urandom(16 * _AT_ONCE)
        _random.extend(block[at : at + 16] for at in range(16, len(block), 16))
        return block[:16]


# A child that is forked must not give the same ids as its parent.
os.register_at_fork(after_in_child=_random.clear)
