"""Whatever clients, models, processes and the database do, in any order: every reader that stays gets the answer.

Two processes share a database; each may die, or lose the database alone, or lose the confirmation of what it wrote.
Each client has a token, which may lose access; the last client only reads, and no answer is begun for it alone.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID

from hypothesis import given, note, settings
from hypothesis import strategies as st

from chatserver.errors import ConflictError, ForbiddenError, ProviderError, UnavailableError
from chatserver.live.outcomes import RunKey
from chatserver.live.store import WhenBusy
from chatserver.providers.base import ReasoningDelta
from tests.kit.memory_store import ADOPTED_WITHIN_SECONDS
from tests.kit.processes import CONVERSATION, GRACE_SECONDS, STOP, Client, Process, World, key, world
from tests.kit.virtual_time import in_virtual_time, quiet

CLIENTS = 4
READER = 3
PROCESSES = 2
# Longer than any lease, grace and wait for the database together.
PATIENCE_SECONDS = 300.0

client_numbers = st.integers(0, CLIENTS - 1)
process_numbers = st.integers(0, PROCESSES - 1)
codes = st.sampled_from(["interrupted", "timeout", "rate_limited", "internal"])
methods = st.sampled_from(
    [
        *("open", "claim", "look", "renew", "next_epoch", "commit", "end", "set_continues", "request_stop"),
        *("stop_state", "yield_state", "decline", "renew_places", "leave", "sweep"),
    ]
)

ways_when_busy = st.sampled_from(["enqueue", "reject", "interrupt"])

actions = st.one_of(
    st.tuples(st.just("open"), client_numbers, process_numbers, st.booleans(), ways_when_busy),
    st.tuples(st.just("leave"), client_numbers),
    st.tuples(st.just("read"), client_numbers),
    st.tuples(st.just("say"), st.integers(1, 3)),
    st.tuples(st.just("finish")),
    st.tuples(st.just("fail"), codes),
    st.tuples(st.just("pass"), st.sampled_from([0.01, 0.6, 4.0, 11.0, 16.0])),
    st.tuples(st.just("stop"), process_numbers, st.booleans()),
    st.tuples(st.just("away"), st.none() | process_numbers),
    st.tuples(st.just("back")),
    st.tuples(st.just("lose"), process_numbers, methods),
    st.tuples(st.just("die"), process_numbers),
    st.tuples(st.just("close"), process_numbers),
    st.tuples(st.just("slow"), process_numbers, st.sampled_from([0.0, 0.3, 2.0])),
    st.tuples(st.just("forsake"), client_numbers),
    st.tuples(st.just("crash")),
    st.tuples(st.just("closing"), st.sampled_from([0.0, 0.5, 3.0])),
)
# What may leave a run without an owner until its lease is over.
ORPHANING = {"away", "lose", "die"}


def token_of(number: int) -> UUID:
    return UUID(int=500 + number)


class Story:
    """A sequence of actions, and what must hold afterwards."""

    def __init__(self, w: World, *, hears: bool) -> None:
        self.world = w
        self.hears = hears
        self.processes: list[Process] = [w.process(hears=hears) for _ in range(PROCESSES)]
        for process in self.processes:
            process.start()
        self.clients = [Client() for _ in range(CLIENTS)]
        self.at: dict[int, int] = {}
        self.stops: list[tuple[int, asyncio.Task[bool]]] = []
        self.said = 0
        self.asked: set[tuple[UUID, RunKey]] = set()
        """The answers for which somebody who may begin them came to a process, by its id."""

    @staticmethod
    def key_of(number: int) -> RunKey:
        """Two triggers of one conversation, with two clients each."""
        return key(number % 2)

    async def do(self, action: tuple[Any, ...]) -> None:
        name, *arguments = action
        await getattr(self, f"do_{name}")(*arguments)
        await quiet()

    async def do_open(self, number: int, at: int, continues: bool, when_busy: WhenBusy) -> None:
        client = self.clients[number]
        if client.reader is not None or client.ends:
            return
        if number != READER:
            self.note_asked(number, at)
        try:
            await client.open(
                self.processes[at],
                self.key_of(number),
                continues=continues,
                when_busy=when_busy,
                asked_by=token_of(number),
                begins_in=() if number == READER else None,
            )
        except (UnavailableError, ConflictError):
            return
        except ForbiddenError:
            assert number == READER
            return
        self.at[number] = at

    def note_asked(self, number: int, at: int) -> None:
        self.asked.add((self.processes[at].store.owner, self.key_of(number)))

    async def do_leave(self, number: int) -> None:
        self.clients[number].leave()

    async def do_read(self, number: int) -> None:
        client = self.clients[number]
        if client.reader is not None:
            client.read()
            if client.reader.at_end:
                assert client.ends or number == READER
                client.leave()

    async def do_say(self, count: int) -> None:
        for _ in range(count):
            self.said += 1
            self.world.model.say(f"{self.said} ", ReasoningDelta(f"({self.said}) "))

    async def do_finish(self) -> None:
        self.world.model.say(STOP)

    async def do_fail(self, code: Any) -> None:
        self.world.model.say(ProviderError(code, "failed"))

    async def do_pass(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def do_stop(self, at: int, keep: bool) -> None:
        stop = self.processes[at].stop(CONVERSATION, keep=keep)
        self.stops.append((at, asyncio.create_task(stop)))

    async def do_away(self, at: int | None) -> None:
        if at is None:
            self.world.database.away = True
        else:
            self.processes[at].store.away = True

    async def do_back(self) -> None:
        self.world.database.away = False
        for process in self.processes:
            process.store.away = False

    async def do_lose(self, at: int, method: str) -> None:
        self.processes[at].store.lose[method] = 1

    async def do_die(self, at: int) -> None:
        for number, client in enumerate(self.clients):
            if self.at.get(number) == at:
                client.leave()
        for stopped_at, stopping in self.stops:
            if stopped_at == at:
                stopping.cancel()
        await self.processes[at].die()
        self.replace(at)

    async def do_close(self, at: int) -> None:
        """End a process in order, as after a drain: its clients are sent away first."""
        for number, client in enumerate(self.clients):
            if self.at.get(number) == at:
                client.leave()
        await self.processes[at].answers.close()
        self.replace(at)

    def replace(self, at: int) -> None:
        self.processes[at] = self.world.process(hears=self.hears)
        self.processes[at].start()

    async def do_slow(self, at: int, seconds: float) -> None:
        self.processes[at].store.latency_seconds = seconds

    async def do_forsake(self, number: int) -> None:
        """The client is still there: it has signed in anew."""
        self.world.database.revoked.add(token_of(number))
        for process in self.processes:
            process.answers.forsake([token_of(number)])

    async def do_crash(self) -> None:
        """The database crashes: the queue is empty afterwards."""
        self.world.database.places.entries.clear()

    async def do_closing(self, seconds: float) -> None:
        self.world.model.closing_seconds = seconds

    async def end(self, *, orphans: bool) -> None:
        """Mend everything, and have every client read to an end."""
        await self.do_back()
        for process in self.processes:
            process.store.lose.clear()
            process.store.latency_seconds = 0.0
        for _ in range(50):
            await self.do_say(1)
            await self.do_finish()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(self.finish(number) for number in range(CLIENTS)))
            await asyncio.gather(*(stopping for _, stopping in self.stops), return_exceptions=True)
        self.check()
        # What has no owner is swept: what shall go on without readers, but cannot, after a minute.
        await asyncio.sleep(ADOPTED_WITHIN_SECONDS + 30 if orphans else GRACE_SECONDS + 5)
        assert "active" not in self.world.database.statuses()
        assert list(self.world.database.places.of(CONVERSATION)) == []

    async def finish(self, number: int) -> None:
        client = self.clients[number]
        while not client.ends:
            if client.reader is None:
                self.note_asked(number, number % PROCESSES)
                await client.open(self.processes[number % PROCESSES], self.key_of(number))
            await client.rest_of_stream()
            # Who only reads is cut off where the answer would have to be begun anew. Then it may, too.
            assert client.ends or number == READER
        client.leave()

    def check(self) -> None:
        answers = {str(row.answer.new.message_id): row for row in self.world.database.rows.values() if row.answer}
        assert len({row.key for row in answers.values()}) == len(answers), "a trigger has two answers"
        assert {(row.begun_by, row.key) for row in self.world.database.rows.values()} <= self.asked
        told: dict[str, Any] = {}
        for number, client in enumerate(self.clients):
            (end,) = client.ends
            message_id = end.get("messageId")
            if message_id is None:
                assert end["type"] in ("stopped", "error")
                continue
            row = answers[message_id]
            assert row.answer is not None
            assert row.key == self.key_of(number)
            assert row.status == {"done": "completed", "stopped": "kept"}[end["type"]]
            assert client.text == row.answer.new.text
            assert told.setdefault(message_id, end) == end
        told_of_a_stop = [
            stopping for _, stopping in self.stops if not stopping.cancelled() and not stopping.exception()
        ]
        if any(stopping.result() for stopping in told_of_a_stop):
            assert {"stopped", "kept"} & set(self.world.database.statuses()), "nothing was stopped"


@given(st.lists(actions, max_size=30), st.booleans())
@settings(max_examples=120)
@in_virtual_time
async def test_every_reader_that_stays_gets_the_end_of_the_answer(script: list[tuple[Any, ...]], hears: bool) -> None:
    note(f"{script=}, {hears=}")
    errors = _Errors()
    logger = logging.getLogger("chatserver")
    logger.addHandler(errors)
    try:
        async with world(max_answer_chars=100_000) as w:
            story = Story(w, hears=hears)
            for action in script:
                await story.do(action)
            await story.end(orphans=any(action[0] in ORPHANING for action in script))
    finally:
        logger.removeHandler(errors)
    assert errors.messages == []


class _Errors(logging.Handler):
    """Collects errors that were logged: nothing that happens here is a defect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))
