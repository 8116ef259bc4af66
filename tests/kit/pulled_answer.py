"""An answer of a provider, read delta by delta: it is wanted only while the test waits for the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Generator, Sequence
from typing import Any, Self

from chatserver.providers.base import Delta, Finish, Prompt, Provider


class PulledAnswer:
    """`async for delta in PulledAnswer(provider, prompt)`; the last one is the Finish. Also the provider's sink.

    The provider is asked with the first `anext`. What it pushes while no `anext` waits is held back. `aclose`, and
    cancelling an `anext`, cancel it; both return when it has ended.
    """

    def __init__(self, provider: Provider, prompt: Prompt) -> None:
        self._provider = provider
        self._prompt = prompt
        self._generating: asyncio.Task[Finish] | None = None
        self._pull: asyncio.Future[Delta | None] | None = None  # an `anext` waits; None: the provider has ended
        self._held: deque[Delta] = deque()
        self._all_taken = asyncio.Event()
        self._over = False

    # --- the sink -----------------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        return self._pull is not None and not self._pull.done()

    def push(self, deltas: Sequence[Delta]) -> Awaitable[bool] | None:
        assert not self._held, "nothing is pushed while deltas are held back"
        self._held.extend(deltas)
        if self.wanted:
            assert self._pull is not None
            self._pull.set_result(self._held.popleft())
        if not self._held:
            return None
        self._all_taken.clear()
        return _UntilTaken(self)

    async def until_taken(self) -> bool:
        await self._all_taken.wait()
        return True

    # --- the reader ---------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta | Finish:
        if self._over:
            raise StopAsyncIteration
        delta = self._take() or await self._wait()
        if delta is not None:
            return delta
        self._over = True
        assert self._generating is not None
        return self._generating.result()

    def _take(self) -> Delta | None:
        """A delta that is held back."""
        if not self._held:
            return None
        delta = self._held.popleft()
        if not self._held:
            self._all_taken.set()
        return delta

    async def _wait(self) -> Delta | None:
        """The next delta; None if there is none."""
        self._pull = asyncio.get_running_loop().create_future()
        if self._generating is None:
            self._generating = asyncio.ensure_future(self._provider.generate(self._prompt, self))
        self._generating.add_done_callback(self._ended)
        try:
            return await self._pull
        except asyncio.CancelledError:
            await self.aclose()
            raise

    def _ended(self, _: object) -> None:
        if self.wanted:
            assert self._pull is not None
            self._pull.set_result(None)

    async def aclose(self) -> None:
        """Cancel the provider; return when it has ended."""
        self._over = True
        if self._generating is not None:
            self._generating.cancel()
            await asyncio.wait([self._generating])
            if not self._generating.cancelled():
                self._generating.exception()


class _UntilTaken:
    """What `push` returns. A provider that is cancelled may leave it without awaiting it."""

    def __init__(self, answer: PulledAnswer) -> None:
        self._answer = answer

    def __await__(self) -> Generator[Any, None, bool]:
        return self._answer.until_taken().__await__()
