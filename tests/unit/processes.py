"""Processes with a registry each on one database in memory, a model that says what it is told, and its readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from chatserver.errors import UnavailableError
from chatserver.live.ends import read_end, read_stored
from chatserver.live.reader import BATCH_FRAMES, Reader
from chatserver.live.registry import Registry
from chatserver.live.run import Queued, Run
from chatserver.live.store import Busy, RunKey, Stored
from chatserver.metrics import Metrics
from chatserver.providers.base import Delta, Finish, Prompt, TextDelta
from tests.unit.event_source import Viewer
from tests.unit.memory_store import LEASE_SECONDS, MemoryDatabase, MemoryStore, ended
from tests.unit.virtual_time import now, quiet

GRACE_SECONDS = 10.0
MAX_ANSWER_CHARS = 100
CONVERSATION = UUID(int=2)
STOP = Finish("stop")


def key(trigger: int, conversation: UUID = CONVERSATION) -> RunKey:
    return RunKey(UUID(int=1), conversation, UUID(int=100 + trigger))


# Three questions of one conversation, and one of another.
FIRST, SECOND, THIRD = key(1), key(2), key(3)
ELSEWHERE = key(9, UUID(int=77))


Said = Delta | BaseException | None


class Model:
    """A provider: what it is told to say goes to whoever asks next, exceptions are raised, None ends without an end.

    `given` counts what was taken from it, `generations` how often it was asked, `open` the connections that are open
    now. `closing_seconds` is how long closing one takes.
    """

    needs_user_turn = True

    def __init__(self) -> None:
        self.given = 0
        self.generations = 0
        self.open = 0
        self.closing_seconds = 0.0
        self.closing_error: Exception | None = None
        self._said: asyncio.Queue[Said] = asyncio.Queue()

    def say(self, *said: Said | str) -> None:
        for each in said:
            self._said.put_nowait(TextDelta(each) if isinstance(each, str) else each)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta]:
        self.generations += 1
        self.open += 1
        try:
            while (said := await self._said.get()) is not None:
                if isinstance(said, BaseException):
                    raise said
                self.given += 1
                yield said
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

    async def open(self, process: Process, asked: RunKey, *, continues: bool = False) -> None:
        """Connect, for the first time or again."""
        assert self.reader is None
        self.reader, self.run = await process.open(asked, self, continues=continues)
        self.see(self.reader.opening)

    def read(self) -> None:
        """See all that is there."""
        assert self.reader is not None
        while frames := self.reader.take():
            assert len(frames) <= BATCH_FRAMES
            self.see(b"".join(frames))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read on until that holds."""
        assert self.reader is not None
        self.read()
        while not condition():
            assert not self.reader.at_end, f"it is over: {self}"
            await self.reader.wait(15)
            self.read()

    async def until_text(self, text: str) -> None:
        await self.until(lambda: self.text == text)

    async def rest(self) -> None:
        """Read to the end."""
        reader = self.reader
        assert reader is not None
        await self.until(lambda: reader.at_end)
        assert len(self.ends) == 1
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
    """A process: its registry, and what opens streams of it (in the server, the service of answers on PostgreSQL)."""

    def __init__(
        self,
        database: MemoryDatabase,
        *,
        grace_seconds: float = GRACE_SECONDS,
        max_answer_chars: int = MAX_ANSWER_CHARS,
        max_runs: int = 100,
    ) -> None:
        self.database = database
        self.store = MemoryStore(database)
        self.metrics = Metrics("0")
        self.registry = Registry(
            self.store,
            self.metrics,
            lease_seconds=LEASE_SECONDS,
            resume_grace_seconds=grace_seconds,
            max_answer_chars=max_answer_chars,
            max_runs=max_runs,
        )

    async def open(self, asked: RunKey, client: Viewer, *, continues: bool) -> tuple[Reader, Run | None]:
        """A reader for the client: of the run that is here, of the stored answer, or of a new run."""
        resume = client.last_id
        while True:
            async with self.registry.exclusively(asked.conversation_id):
                line = self.registry.line(asked.conversation_id)
                run = next((run for run in line if run.key == asked), None)
                reset = False
                if run is None:
                    row = None if resume is None else self.database.rows.get(resume.run_id)
                    if resume is not None and row is not None and row.status in ("stopped", "failed"):
                        return read_end(ended(row), resume), None
                    outcome = await self.store.open(asked, continues=continues, wait=bool(line))
                    if isinstance(outcome, Stored):
                        return read_stored(outcome, resume), None
                    if self.registry.full:
                        raise UnavailableError
                    if isinstance(outcome, Busy):
                        run, reset = self.registry.add(asked, Queued(), continues=continues), resume is not None
                    else:
                        run = self.registry.add(asked, outcome, continues=continues)
                        reset = resume is not None and resume.run_id != outcome.run_id
                if run.joinable:
                    return run.join(None if reset else resume, reset=reset, continues=continues), run
            await run.wait_settled()

    async def die(self) -> None:
        """End as by kill -9: nothing is told to anybody."""
        self.store.die()
        own = {run._task for run in self.registry} | set(self.registry._tasks)
        own |= {run._work for run in self.registry}
        for task in own:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in own if task is not None), return_exceptions=True)


class World:
    """A model, a database, and processes."""

    def __init__(self, **options: float) -> None:
        self.model = Model()
        self.database = MemoryDatabase(now, self.model)
        self.options = options
        self.processes: list[Process] = []

    def process(self, **options: float) -> Process:
        """One more."""
        process = Process(self.database, **{**self.options, **options})  # type: ignore[arg-type]
        self.processes.append(process)
        return process


@asynccontextmanager
async def world(**options: float) -> AsyncIterator[World]:
    """A world that is taken down in the end, and in which no connection to the model is left open."""
    made = World(**options)
    yield made
    for process in made.processes:
        if not process.store.dead:
            await process.registry.close()
            await process.store.settled()
            assert list(process.registry) == []
            assert not process.registry._turns
    await quiet()
    assert made.model.open == 0


async def reader_of(process: Process, *, continues: bool = False) -> Client:
    """A client of the first question's answer."""
    client = Client()
    await client.open(process, FIRST, continues=continues)
    return client


async def clients(process: Process, *keys: RunKey) -> list[Client]:
    """A client for each, in this order."""
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
    """How many runs were counted, by outcome."""
    samples = (sample for metric in process.metrics.registry.collect() for sample in metric.samples)
    return {
        sample.labels["outcome"]: sample.value
        for sample in samples
        if sample.name == "chatserver_runs_ended_total" and sample.value
    }
