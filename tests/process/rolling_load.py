"""Clients of servers that are replaced one by one, the model that answers, and what must hold of all that they saw."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.kit.event_stream import EventStream, Viewer
from tests.kit.http_client import COMPANY, Client, stream_path
from tests.kit.model_server import HEAD, Call
from tests.kit.server_process import ServerProcess

WORDS = 30
WORD_SECONDS = 0.02
# An answer that has not come by then will not come.
STUCK_SECONDS = 45.0
# Clients that are cut, or sent away, come back after a random part of this.
COME_BACK_SECONDS = 0.4
# Servers of the release before take the first ids behind a `reset` for places of their own: there no client leaves.
FEWEST_EVENTS, MOST_EVENTS = 6, 25
LOST = (OSError, ValueError, asyncio.IncompleteReadError)


def answer(question: str, number: int) -> str:
    """What the model answers when it is asked that for the so-manieth time: parts of two answers would be seen."""
    return "".join(f"{question}#{number}:{word} " for word in range(WORDS))


class CountingModel:
    """Counts the answers to each question that it began.

    `completed`: the numbers of the servers that asked for those that it could send to the end. They name themselves in
    the path.
    """

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.completed: defaultdict[str, list[int]] = defaultdict(list)

    @staticmethod
    def path_of(server: int) -> str:
        return f"/server/{server}"

    async def answer(self, call: Call) -> None:
        question = call.request["messages"][-1]["content"]
        self.begun[question] += 1
        words = answer(question, self.begun[question]).split(" ")
        await call.send(HEAD)
        for word in words[:-1]:
            await call.send(f"{word} ")
            await asyncio.sleep(WORD_SECONDS)
        await call.finish()
        self.completed[question].append(int(call.head.split(b"/server/")[1].split(b"/")[0]))


@dataclass
class Question:
    """A user message that a server has acknowledged.

    `stopped`: somebody asked to stop its answer. `ended`: when the first client has seen the end of that.
    """

    id: str
    conversation: str
    content: str
    stopped: bool = False
    ended: float = math.inf
    viewers: list[Viewer] = field(default_factory=list)


class RollingLoad:
    """The `servers`, by their numbers, take new requests; those that `leave` are on their way out.

    At first they are of the release before.
    """

    def __init__(self, servers: Mapping[int, ServerProcess], seed: int) -> None:
        self.servers = dict(servers)
        self.questions: list[Question] = []
        self.answered = 0
        self.left: dict[int, float] = {}
        """When servers began to end."""
        self._before = set(servers)
        self._seed = seed
        self._over = False

    def leave(self, number: int) -> None:
        """This server ends now: its clients may be sent away."""
        self.left[number] = time.monotonic()
        del self.servers[number]

    def start(self, clients: int) -> None:
        self._working = asyncio.gather(*(self._client(Random(f"{self._seed}/{number}")) for number in range(clients)))

    async def more(self, answers: int) -> None:
        """Return when so many more answers have come to their end."""
        wanted = self.answered + answers
        async with asyncio.timeout(STUCK_SECONDS):
            while self.answered < wanted:
                if self._working.done():  # a client has failed
                    await self._working
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Ask no more; return when all have their answers."""
        self._over = True
        await self._working

    async def _client(self, random: Random) -> None:
        kinds = (self._alone, self._crowd, self._enqueue, self._stop, self._continue)
        while not self._over:
            conversation = (await self._ok(random, "POST", f"/api/companies/{COMPANY}/conversations", {}))["id"]
            for kind in random.sample(kinds, 3):
                if not self._over:
                    await kind(random, conversation)

    # --- what clients do ----------------------------------------------------------------------------------

    async def _alone(self, random: Random, conversation: str) -> None:
        await self._watch(random, await self._ask(random, conversation))

    async def _crowd(self, random: Random, conversation: str) -> None:
        """Several read one answer, at whatever server."""
        question = await self._ask(random, conversation)
        begun = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(random, question, begun))
            await begun.wait()
            for _ in range(2):
                tasks.create_task(self._watch(random, question))

    async def _enqueue(self, random: Random, conversation: str) -> None:
        """Questions wait for one another. Nobody is cut: an answer without readers would make way."""
        first, begun = await self._ask(random, conversation), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(random, first, begun, cuts=False, whenBusy="enqueue"))
            await begun.wait()
            for _ in range(2):
                question = await self._ask(random, conversation)
                tasks.create_task(self._watch(random, question, cuts=False, whenBusy="enqueue"))

    async def _stop(self, random: Random, conversation: str) -> None:
        question, begun = await self._ask(random, conversation), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(random, question, begun))
            await begun.wait()
            await asyncio.sleep(WORDS * WORD_SECONDS * random.random())
            question.stopped = True
            await self._ok(random, "POST", f"/api/conversations/{conversation}/stop")

    async def _continue(self, random: Random, conversation: str) -> None:
        """One leaves, and comes back for the whole answer."""
        question, glance = await self._ask(random, conversation), Viewer()
        while not glance.text and not glance.ends:
            await self._connect(random, question, glance, asyncio.Event(), events=1, onDisconnect="continue")
        await asyncio.sleep(COME_BACK_SECONDS * random.random())
        await self._watch(random, question, onDisconnect="continue")

    # --- requests -----------------------------------------------------------------------------------------

    async def _ask(self, random: Random, conversation: str) -> Question:
        content = f"q{len(self.questions)}-{random.getrandbits(24):x}"
        body = {"role": "user", "content": content}
        message = await self._ok(random, "POST", f"/api/conversations/{conversation}/messages", body)
        question = Question(message["id"], conversation, content)
        self.questions.append(question)
        return question

    async def _ok(self, random: Random, method: str, path: str, body: Any = None) -> Any:
        """The resource of a request that is repeated, under one key, while servers end."""
        headers = {"Idempotency-Key": str(uuid.UUID(int=random.getrandbits(128)))}
        while True:
            number, server = random.choice(list(self.servers.items()))
            try:
                response = await server.request(method, path, body, headers)
            except LOST as error:
                self._require_leaving(number, f"{method} {path}: {error!r}")
            else:
                if response.status != 503:
                    assert response.status in (200, 201), response
                    return response.json
                assert "Retry-After" in response.headers
                self._require_leaving(number, f"{method} {path}: {response}")
            await asyncio.sleep(COME_BACK_SECONDS * random.random())

    async def _watch(
        self, random: Random, question: Question, begun: asyncio.Event | None = None, *, cuts: bool = True, **query: str
    ) -> None:
        """Read the answer to its end, each time at another server. With `cuts` the client also leaves by itself."""
        begun, viewer = begun or asyncio.Event(), Viewer()
        question.viewers.append(viewer)
        try:
            async with asyncio.timeout(STUCK_SECONDS):
                while not viewer.ends:
                    events = random.randint(FEWEST_EVENTS, MOST_EVENTS) if cuts else -1
                    await self._connect(random, question, viewer, begun, events=events, **query)
        except TimeoutError:
            raise AssertionError(f"no end of {question} at {viewer}") from None
        question.ended = min(question.ended, time.monotonic())
        self.answered += 1

    async def _connect(
        self, random: Random, question: Question, viewer: Viewer, begun: asyncio.Event, *, events: int, **query: str
    ) -> None:
        """Go on where the viewer is, for so many events (-1: for all); then wait a moment."""
        number, server = random.choice(list(self.servers.items()))
        last_id = viewer.source.last_event_id
        what: object = f"after {last_id} the stream ends without an end"
        try:
            connection = await server.connect()
            try:
                headers = {"Last-Event-ID": last_id} if last_id else {}
                await connection.send("GET", stream_path(question.conversation, question.id, **query), headers=headers)
                status, answered = await connection.head()
                if status == 200:
                    if await _read(EventStream(connection, answered), viewer, begun, events):
                        return
                else:
                    what = f"after {last_id}: {status}"
                    assert not last_id, what
                    # Two that ask for one answer at once may get this from the release before.
                    if status != 409 or number not in self._before:
                        assert (status, "Retry-After" in answered) == (503, True), what
            finally:
                connection.close()
        except LOST as error:
            what = error
        finally:
            await asyncio.sleep(COME_BACK_SECONDS * random.random())
        self._require_leaving(number, f"{question}: {what}")

    def _require_leaving(self, number: int, what: str) -> None:
        """Only a server that ends may send a client away."""
        assert number in self.left, what


async def _read(stream: EventStream, viewer: Viewer, begun: asyncio.Event, events: int) -> bool:
    """Take in so many events; False: the response has ended before, without a terminal event."""
    while (frame := await stream.frame()) is not None:
        viewer.source.last_event_id = frame.id or viewer.source.last_event_id
        if frame.data is not None:
            viewer.take(frame.data)
            begun.set()
            events -= 1
            if events == 0 and not viewer.ends:
                return True
    return bool(viewer.ends)


async def check(load: RollingLoad, model: CountingModel, server: Client) -> None:
    """What the contract says of all questions, their answers, and what clients have seen of them."""
    for question in load.questions:
        messages = await server.messages(question.conversation, "?limit=200")
        assert [message["content"] for message in messages if message["id"] == question.id] == [question.content]
        stored = {message["id"]: message for message in messages if message["replyTo"] == question.id}
        assert len(stored) == 1 or (question.stopped and not stored), (question, stored)
        # A server that ended may have held all of an answer back that nobody read at that moment.
        completed = model.completed[question.content]
        lasting = [number for number in completed if load.left.get(number, math.inf) > question.ended]
        assert question.stopped or (completed and len(lasting) <= 1), (question, completed, lasting)
        for viewer in question.viewers:
            (end,) = viewer.ends
            if end["type"] == "done":
                assert viewer.text == stored[end["messageId"]]["content"], question
                assert viewer.text == answer(question.content, int(viewer.text.partition("#")[2].partition(":")[0]))
            else:
                assert (end, question.stopped) == ({"type": "stopped", "messageId": None}, True), (question, end)
            again = await server.refused(question.conversation, question.id, last_id=viewer.source.last_event_id)
            assert again.status == 204
    asked = Counter(question.conversation for question in load.questions)
    for conversation, count in asked.items():
        messages = await server.messages(conversation, "?limit=200")
        assert sum(message["role"] == "user" for message in messages) == count
