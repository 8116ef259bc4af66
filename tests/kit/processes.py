"""Server processes in virtual time: each opens answers as the server does, all on one database in memory, with one
model that says what it is told, and clients that read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from chatserver.live.answers import Answers
from chatserver.live.following import Following
from chatserver.live.options import StreamOptions
from chatserver.live.outcomes import RunKey
from chatserver.live.reader import BATCH_FRAMES, Reader
from chatserver.live.run import Run
from chatserver.live.run_context import RunContext
from chatserver.live.sharing import Sharing
from chatserver.live.store import Companies, WhenBusy
from chatserver.metrics import Metrics
from chatserver.providers.base import Delta, Finish, Prompt, Sink, TextDelta
from chatserver.sse import unchunk
from tests.kit.event_stream import Viewer
from tests.kit.memory_sharing import MemoryHints, MemorySharingStore
from tests.kit.memory_store import LEASE_SECONDS, MemoryDatabase, MemoryStore
from tests.kit.virtual_time import now, quiet

T = TypeVar("T")

GRACE_SECONDS = 10.0
MAX_ANSWER_CHARS = 100
CONVERSATION = UUID(int=2)
STOP = Finish("stop")


def key(trigger: int, conversation: UUID = CONVERSATION) -> RunKey:
    return RunKey(UUID(int=1), conversation, UUID(int=100 + trigger))


# Three questions of one conversation, and one of another.
FIRST, SECOND, THIRD = key(1), key(2), key(3)
ELSEWHERE = key(9, UUID(int=77))

# The process that a task belongs to.
_process: ContextVar[Process | None] = ContextVar("process", default=None)


Said = Delta | list[Delta] | Finish | BaseException


class Model:
    """A provider that says what it is told: deltas, lists of deltas to push at once, a Finish, exceptions to raise.

    `given` counts what was taken from it, `generations` how often it was asked, `open` the connections that are open
    now. `told` is what its sink said to each push: None if it was taken at once, else whether that was a pause.
    `closing_seconds` is how long closing a connection takes.
    """

    model: str | None = "the model"
    needs_user_turn = True
    max_prompt_chars = 100

    def __init__(self) -> None:
        self.given = 0
        self.generations = 0
        self.open = 0
        self.told: list[bool | None] = []
        self.closing_seconds = 0.0
        self.closing_error: Exception | None = None
        self._said: asyncio.Queue[Said] = asyncio.Queue()

    def say(self, *said: Said | str) -> None:
        for each in said:
            self._said.put_nowait(TextDelta(each) if isinstance(each, str) else each)

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        self.generations += 1
        self.open += 1
        try:
            while True:
                said = await self._said.get()
                if isinstance(said, BaseException):
                    raise said
                if isinstance(said, Finish):
                    return said
                deltas = said if isinstance(said, list) else [said]
                self.given += len(deltas)
                held = sink.push(deltas)
                self.told.append(None if held is None else await held)
        finally:
            try:
                if self.closing_seconds:
                    await asyncio.sleep(self.closing_seconds)
            finally:
                self.open -= 1
            if self.closing_error is not None:
                raise self.closing_error

    def close(self) -> None: ...


class Client(Viewer):
    """A viewer with a connection to a process, which it may lose."""

    reader: Reader | None = None
    run: Run | None = None

    async def open(
        self,
        process: Process,
        asked: RunKey,
        *,
        continues: bool = False,
        when_busy: WhenBusy = "enqueue",
        asked_by: UUID | None = None,
        begins_in: Companies = None,
    ) -> None:
        """Connect, for the first time or again."""
        assert self.reader is None
        options = StreamOptions(
            asked.trigger_id,
            self.last_id,
            when_busy=when_busy,
            continues=continues,
            asked_by=asked_by,
            begins_in=begins_in,
        )
        self.reader = await process.open(asked.conversation_id, options)
        self.run = process.find(asked)
        self.see(self.reader.opening)
        self._told = asyncio.Event()
        self.reader.follow(self._told.set)

    def read(self) -> None:
        """See all frames that the reader can take now."""
        assert self.reader is not None
        while chunks := self.reader.take():
            assert len(chunks) <= BATCH_FRAMES
            self.see(b"".join(map(unchunk, chunks)))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read on until the condition holds."""
        assert self.reader is not None
        self.read()
        while not condition():
            assert not self.reader.at_end, f"it is over: {self}"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 15)
            self._told.clear()
            self.read()

    async def until_text(self, text: str) -> None:
        await self.until(lambda: self.text == text)

    async def rest(self) -> None:
        """Read to the terminal event."""
        await self.rest_of_stream()
        assert len(self.ends) == 1

    async def rest_of_stream(self) -> None:
        """Read to the end of the stream, with a terminal event or without."""
        reader = self.reader
        assert reader is not None
        await self.until(lambda: reader.at_end)
        self.leave()

    def leave(self) -> None:
        if self.reader is not None:
            self.reader.close()
            self.reader = None

    @property
    def end(self) -> str:
        """The type of the terminal event, and the code of an error."""
        (end,) = self.ends
        return str(end.get("code", end["type"]))


class Process:
    """A process: its answers in the making, on the database that all processes share."""

    def __init__(
        self,
        database: MemoryDatabase,
        owners: WeakKeyDictionary[asyncio.Task[Any], Process],
        *,
        grace_seconds: float = GRACE_SECONDS,
        max_answer_chars: int = MAX_ANSWER_CHARS,
        max_runs: int = 100,
        hears: bool = False,
    ) -> None:
        """`owners` tells which process a task belongs to. `hears`: hints of other processes, else it only polls."""
        self.store = MemoryStore(database)
        self.metrics = Metrics("0")
        self._owners = owners
        sharing_store = MemorySharingStore(self.store)
        self.context = RunContext(
            self.store,
            Sharing(sharing_store),
            Following(sharing_store, MemoryHints(self.store)),
            self.metrics,
            resume_grace_seconds=grace_seconds,
            max_answer_chars=max_answer_chars,
        )
        self.answers = Answers(self.context, lease_seconds=LEASE_SECONDS, max_runs=max_runs)
        if hears:
            database.inboxes[self.store.owner] = self.answers.heard

    async def open(self, conversation_id: UUID, options: StreamOptions) -> Reader:
        """A reader, opened by a task of this process."""
        return await self._carry_out(self.answers.open(None, conversation_id, options))

    async def stop(self, conversation_id: UUID, *, keep: bool) -> bool:
        """Stop the answer that is being generated, from a task of this process."""
        return await self._carry_out(self.answers.stop(None, conversation_id, keep=keep))

    async def _carry_out(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out the request of a client in a task of this process, which ends with the process."""
        results: list[T] = []

        async def request() -> None:
            results.append(await work)

        token = _process.set(self)
        try:
            task = asyncio.create_task(request())
        finally:
            _process.reset(token)
        await task
        return results.pop()  # a task that is done holds nothing of it

    def start(self) -> None:
        """Begin the loops in the background, as a server does before its first request."""
        token = _process.set(self)
        try:
            self.answers.start()
        finally:
            _process.reset(token)

    def find(self, key: RunKey) -> Run | None:
        """The run of that answer, if it is in this process."""
        return next((run for run in self.answers if run.key == key), None)

    def keys(self) -> list[RunKey]:
        """The answers in this process, those of one conversation in the order of their turns."""
        conversations = dict.fromkeys(run.key.conversation_id for run in self.answers)
        return [run.key for each in conversations for run in self.answers._queues.of(each).runs]

    async def die(self) -> None:
        """End as by kill -9: nothing is told to anybody."""
        self.store.die()
        self.store.database.forget(self.store.owner)
        own = [task for task, process in self._owners.items() if process is self and not task.done()]
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)


class World:
    """A model, a database, and processes."""

    def __init__(self, **options: float) -> None:
        self.model = Model()
        self.database = MemoryDatabase(now, self.model)
        for each in (*(key(number) for number in range(4)), ELSEWHERE):
            self.database.ask(each)
        self.options = options
        self.processes: list[Process] = []
        self._owners: WeakKeyDictionary[asyncio.Task[Any], Process] = WeakKeyDictionary()
        self._note_owners()

    def _note_owners(self) -> None:
        """Have the loop note which process each new task belongs to: that of the task which creates it."""
        loop, owners = asyncio.get_running_loop(), self._owners
        create = loop.get_task_factory() or asyncio.Task

        def create_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
            task: asyncio.Task[Any] = (
                asyncio.Task(coroutine, loop=loop, **options)
                if create is asyncio.Task
                else create(loop, coroutine, **options)  # type: ignore[call-arg]
            )
            process = _process.get()
            if process is not None:
                owners[task] = process
            return task

        loop.set_task_factory(create_task)

    def process(self, **options: float) -> Process:
        """Add a process."""
        process = Process(self.database, self._owners, **{**self.options, **options})  # type: ignore[arg-type]
        self.processes.append(process)
        return process


@asynccontextmanager
async def world(**options: float) -> AsyncIterator[World]:
    """A world that is taken down at the end. By then no connection to the model is open, and no run is left."""
    made = World(**options)
    yield made
    for process in made.processes:
        if not process.store.dead:
            await process.answers.close()
            await process.store.settled()
            assert process.keys() == []
    await quiet()
    assert made.model.open == 0


async def reader_of(process: Process, *, continues: bool = False) -> Client:
    """A client of the first question's answer."""
    client = Client()
    await client.open(process, FIRST, continues=continues)
    return client


async def clients(process: Process, *keys: RunKey) -> list[Client]:
    """Open a client for each answer, in this order."""
    opened = []
    for each in keys:
        client = Client()
        await client.open(process, each)
        await quiet()
        opened.append(client)
    return opened


def run_of(client: Client) -> Run:
    assert client.run is not None
    return client.run


def ended_runs(process: Process) -> dict[str, float]:
    """The metric of runs that ended, by outcome."""
    samples = (sample for metric in process.metrics.registry.collect() for sample in metric.samples)
    return {
        sample.labels["outcome"]: sample.value
        for sample in samples
        if sample.name == "chatserver_runs_ended_total" and sample.value
    }
