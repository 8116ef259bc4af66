"""The base of handlers whose body may be large: it counts as one of the `LargeLists` while it is sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from uuid import UUID

from chatserver.web.http.long_request_handler import LongRequestHandler

# A body of up to so many bytes is written at once: it waits in the buffers of this process and of the system.
SMALL_BODY_BYTES = 256 * 1024


class LargeBodyHandler(LongRequestHandler):
    async def send_large(self, company: UUID, body: AsyncGenerator[bytes], what: str) -> None:
        """End the response with a body, as `send_all` does. Raises UnavailableError if there is no room for it."""
        with self.context.large_lists.admitted(company, self):
            self.begin_body()
            if self.request.method == "HEAD":
                await self.flush()
                self.finish()
            else:
                self.timed = False  # its duration depends on the client
                await self.send_all(body, what)

    async def send(self, data: bytes) -> None:
        await super().send(data)
        self.context.large_lists.went_on(self)

    def evict(self) -> None:
        """Make room for the response to another client."""
        self.gone = True
        self.reset()
        self.wake()
