"""The bodies of requests: bounded each and all together, and refused before they are read where that is possible.

The headers say how long most bodies are. So a handler checks all that it can before the body: whether the request comes
from another site, who sends it, and whether its body is too large. Nothing of a refused body is kept.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable
from typing import Protocol

from tornado.httputil import HTTPHeaders

from chatserver.errors import BodyTooLargeError, UnavailableError

# How long a body may take to arrive.
BODY_SECONDS = 60
# The most bytes of bodies that are kept at once, those of all requests together; more if two of the largest need more.
ALL_BODIES_BYTES = 64 * 1024 * 1024
# A longer Content-Length than this many digits is not a length that anybody means.
_MAX_DIGITS = 18


def declared_bytes(headers: HTTPHeaders) -> int | None:
    """The length in Content-Length; None if there is none. Raises ValueError if it is not one number.

    The same number given several times is allowed (RFC 9112, section 6.3).
    """
    if "Content-Length" not in headers:
        return None
    given = headers["Content-Length"]
    if given.isdecimal() and given.isascii() and len(given) <= _MAX_DIGITS:  # what nearly all are
        return int(given)
    first, *others = (value.strip(" \t") for value in given.split(","))
    if not (first.isascii() and first.isdecimal()) or any(other != first for other in others):
        raise ValueError("Content-Length is not one number")
    digits = first.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS


def has_body(headers: HTTPHeaders) -> bool:
    """Whether a body follows the headers of a request, which are well-formed."""
    return "Transfer-Encoding" in headers or bool(declared_bytes(headers))


ANYBODY = "anybody"
"""The share of requests that need no sign-in: together they may hold an eighth."""

# The largest body of such a request; they have hardly anything to say.
ANYBODYS_BYTES = 16 * 1024


class Bodies:
    """What the bodies of all requests hold together, and each share of them."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` bounds one body."""
        self.max_bytes = max_bytes
        self.all_bytes = max(ALL_BODIES_BYTES, 2 * max_bytes)
        self.held_bytes = 0
        self._of_share: Counter[Hashable] = Counter()

    def hold(self, share: Hashable, more: int) -> None:
        """Count bytes that are kept for a share from now on; negative: that are kept no more."""
        self.held_bytes += more
        if share is not None:
            self._of_share[share] += more
            if not self._of_share[share]:
                del self._of_share[share]

    def require_room(self, share: Hashable, more: int) -> None:
        """Raises UnavailableError if there is no room for so many bytes more. `share` None: it may hold all.

        Any other share may hold half, so that nobody can keep everyone else's requests out.
        """
        held, bound = self._of_share[share], self.all_bytes // (8 if share == ANYBODY else 2)
        if self.held_bytes + more > self.all_bytes or (share is not None and held + more > bound):
            raise UnavailableError("Too many requests are being received")


class Receiver(Protocol):
    """The handler of a request whose body arrives."""

    def body_arrived(self) -> None:
        """The body is complete. Raises a ChatServerError to refuse the request all the same."""


class IncomingBody:
    """The body of one request. `receiver` is set by the handler."""

    receiver: Receiver | None = None

    def __init__(self, bodies: Bodies, *, expected: bool, declared: int | None, body: bytes = b"") -> None:
        """`body`: all of it, if it has arrived already. It is only looked at when the handler asks for it."""
        self.complete = not expected
        """Whether all of it was read. Otherwise the connection cannot serve another request."""
        self._bodies = bodies
        self._declared = declared or 0
        self._received = bytearray()
        self._at_hand = body
        self._share: Hashable = None
        self._max_bytes = bodies.max_bytes
        self._given_up = False
        self._waiting: asyncio.Future[None] | None = None

    async def arrived(self) -> bool:
        """Wait for the end of the body; False: it will not come. Raises what `add` and `end` raise."""
        if self._at_hand:
            body, self._at_hand = self._at_hand, b""
            self.add(body)
            self.end()
        if not self.complete and not self._given_up:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return self.complete and not self._given_up

    def end(self) -> None:
        """All of it was added. Raises what `receiver` raises; to be given up then."""
        self.complete = True
        if self.receiver is not None:
            self.receiver.body_arrived()
        self._wake()

    def give_up(self) -> None:
        """The request is refused, or its client is gone. May be called again."""
        self._given_up = True
        self.release()
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    @property
    def is_coming(self) -> bool:
        """Whether some of it is still on its way."""
        return not self.complete and not self._at_hand

    def admit(self, share: Hashable) -> None:
        """Raises BodyTooLargeError or UnavailableError for a body that is not to be read, by its declared length.

        `share`: whose share of the room for bodies it takes; None: nobody's.
        """
        self._share = share
        if share == ANYBODY:
            self._max_bytes = min(self._max_bytes, ANYBODYS_BYTES)
        if self._declared > self._max_bytes:
            raise BodyTooLargeError
        self._require_room(self._declared)

    def add(self, chunk: bytes) -> None:
        """Keep a piece. Raises as `admit`."""
        if len(self._received) + len(chunk) > self._max_bytes:
            raise BodyTooLargeError
        self._require_room(len(chunk))
        self._received += chunk
        self._bodies.hold(self._share, len(chunk))

    def _require_room(self, more: int) -> None:
        if more:
            self._bodies.require_room(self._share, more)

    def take(self) -> bytes:
        """The whole body, which is not kept any longer."""
        body = bytes(self._received)
        self.release()
        return body

    def release(self) -> None:
        """Keep nothing. May be called again."""
        if self._received:
            self._bodies.hold(self._share, -len(self._received))
            self._received.clear()
        self._at_hand = b""
        self.receiver = None  # a cycle would keep the handler until the garbage is collected
