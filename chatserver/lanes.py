"""Lanes: a few threads for long work, which companies share by turns.

Short work never goes through a lane, so it never waits behind long work.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

from chatserver.errors import UnavailableError

T = TypeVar("T")

# How many calls of one company wait, and of all companies together. One more is refused.
MAX_WAITING_OF_COMPANY = 100
MAX_WAITING = 1_000
# A call that waits for longer is refused: by then its client has lost patience.
MAX_WAIT_SECONDS = 60.0
RETRY_AFTER_SECONDS = 5


class Lane:
    """Some threads. Their free places go to the companies that wait, one after the other, in a circle.

    One company never has all threads, unless there is only one: so another company does not wait for its work.
    Everything but the functions themselves, and `join`, happens on the loop.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._share = max(1, threads - 1)
        self._running: Counter[UUID] = Counter()
        self._interrupts: dict[asyncio.Future[Any], Callable[[], None]] = {}
        self._interrupting: set[asyncio.Future[None]] = set()
        # In the order in which the companies have their next turns.
        self._waiting: dict[UUID, deque[asyncio.Future[None]]] = {}
        self._closed = False

    async def run(
        self, company_id: UUID, function: Callable[[], T], *, interrupt: Callable[[], None] = lambda: None
    ) -> T:
        """Run `function` on a thread, when it is the company's turn.

        If the caller is cancelled while it waits, nothing is run. If it is cancelled later, `interrupt` is called on
        another thread, again and again, until the function has ended; only then the thread is free for others.
        Raises UnavailableError if too many wait, if the wait takes too long, and after `close`; and anything that
        `function` raises.
        """
        await self._turn(company_id)
        loop = asyncio.get_running_loop()
        try:
            work = loop.run_in_executor(self._executor, function)
        except RuntimeError:  # closed between the turn and now
            self._leave(company_id)
            raise _refusal() from None
        self._interrupts[work] = interrupt
        work.add_done_callback(lambda _: self._ended(work, company_id))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.cancelled():  # `close` cancelled it, not a caller
                raise _refusal() from None
            if not work.done():
                interrupting = asyncio.ensure_future(_interrupt_until_done(work, interrupt))
                self._interrupting.add(interrupting)  # keeps the task alive
                interrupting.add_done_callback(self._interrupting.discard)
            raise

    async def _turn(self, company_id: UUID) -> None:
        if self._closed:
            raise _refusal()
        of_company = len(self._waiting.get(company_id, ()))
        if of_company >= MAX_WAITING_OF_COMPANY or sum(map(len, self._waiting.values())) >= MAX_WAITING:
            raise UnavailableError("Too many long requests are waiting", retry_after_seconds=RETRY_AFTER_SECONDS)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(company_id, deque()).append(turn)
        self._give_turns()
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                await turn
        except TimeoutError:
            self._withdraw(company_id, turn)
            raise UnavailableError(
                "Long requests take too long just now", retry_after_seconds=RETRY_AFTER_SECONDS
            ) from None
        except BaseException:
            self._withdraw(company_id, turn)
            raise

    def _withdraw(self, company_id: UUID, turn: asyncio.Future[None]) -> None:
        """The caller does not wait any more; its turn may have been given to it at the same moment."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self._leave(company_id)
            return
        queue = self._waiting.get(company_id)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[company_id]

    def _give_turns(self) -> None:
        while self._free:
            company_id = next((each for each in self._waiting if self._running[each] < self._share), None)
            if company_id is None:
                return
            queue = self._waiting.pop(company_id)
            turn = queue.popleft()
            if queue:
                self._waiting[company_id] = queue  # behind all others
            if turn.done():  # its caller was cancelled, and has not withdrawn yet
                continue
            self._free -= 1
            self._running[company_id] += 1
            turn.set_result(None)

    def _leave(self, company_id: UUID) -> None:
        self._free += 1
        self._running[company_id] -= 1
        if not self._running[company_id]:
            del self._running[company_id]
        self._give_turns()

    def _ended(self, work: asyncio.Future[Any], company_id: UUID) -> None:
        del self._interrupts[work]
        if not work.cancelled():
            work.exception()  # the caller may have left: then nobody else looks at it
        self._leave(company_id)

    def close(self) -> None:
        """`stop` and `join`. May be called again."""
        self.stop()
        self.join()

    def stop(self) -> None:
        """Take no more calls, and refuse those that wait."""
        self._closed = True
        waiting, self._waiting = self._waiting, {}
        for queue in waiting.values():
            for turn in queue:
                if not turn.done():
                    turn.set_exception(_refusal())

    def join(self) -> None:
        """Interrupt what runs, and wait for the threads. After `stop`; it may be called on any thread."""
        for interrupt in list(self._interrupts.values()):
            interrupt()
        self._executor.shutdown(wait=True, cancel_futures=True)


async def _interrupt_until_done(work: asyncio.Future[Any], interrupt: Callable[[], None]) -> None:
    # Again and again: an interrupt may come between two statements, where it has no effect.
    while not work.done():
        await asyncio.to_thread(interrupt)
        await asyncio.wait({work}, timeout=0.1)


def _refusal() -> UnavailableError:
    return UnavailableError("The server is stopping")
