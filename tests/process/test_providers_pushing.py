"""From a model's socket into the journal: order, back-pressure, and the end at any moment."""

from __future__ import annotations

import asyncio
import socket
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from chatserver.errors import ProviderError
from chatserver.ids import uuid7
from chatserver.live.demand import Demand
from chatserver.live.generation import DELTAS_PER_TURN, AnswerSink
from chatserver.live.interruption import Interruption
from chatserver.live.journal import Journal
from chatserver.live.steps import Commit, Interrupt, Interrupted, Step
from chatserver.metrics import Metrics
from chatserver.providers.attempt import HOLD_SECONDS
from chatserver.providers.base import Prompt, Turn
from tests.kit.loop_turns import BusySink, most_per_turn
from tests.kit.model_server import CHUNKED_HEAD, END, HEAD, Call, ModelServer, Script, refusal, token
from tests.kit.waiting import PATIENCE_SECONDS, eventually
from tests.process.provider_calls import PROMPT, provider


class Generation:
    """An answer that is generated into a journal, as a run does it. It has a reader at first."""

    def __init__(self, base_url: str, **settings: object) -> None:
        self.journal = Journal(uuid7(), 1)
        self.demand = Demand(60, lambda: None, askers=frozenset(), has_grace=True)
        self.interruption = Interruption()
        self.sink = AnswerSink(
            self.journal, self.demand, self.interruption, max_chars=100_000_000, metrics=Metrics("0")
        )
        self.prompts = [PROMPT]
        self._provider = provider(base_url, **settings)
        self.come_back()
        self.task = asyncio.create_task(self.interruption.interruptible(self._step()))

    async def _step(self) -> Step:
        return Commit(await self.sink.fill(self._provider, self.prompts.pop()))

    def leave(self) -> None:
        self.demand.remove_reader()

    def come_back(self) -> None:
        self.demand.add_reader()

    async def shown(self, text: str) -> None:
        await eventually(lambda: self.journal.text == text)

    async def interrupt(self) -> None:
        """Interrupt the step, and see that it ends without a further frame."""
        frames = self.journal.events
        self.interruption.request(Interrupt.DISCARD)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await self.task == Interrupted(Interrupt.DISCARD)
        assert self.journal.events == frames


@asynccontextmanager
async def generating(model: ModelServer, **settings: object) -> AsyncIterator[Generation]:
    generation = Generation(model.base_url, **settings)
    try:
        yield generation
    finally:
        generation.task.cancel()
        await asyncio.wait([generation.task])
        generation.demand.close()


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# --- back-pressure --------------------------------------------------------------------------------------------


async def test_endless_model_is_held_back_while_nobody_reads_and_goes_on_for_a_reader() -> None:
    sent = 0
    held_back = asyncio.Event()

    async def script(call: Call) -> None:
        nonlocal sent
        await call.send(HEAD)
        for number in range(1_000_000):
            data = token(f"{number}," + "x" * 1_000)
            try:
                async with asyncio.timeout(0.5):
                    await call.send(data)
            except TimeoutError:
                held_back.set()
                await call.closed()
                return
            sent += len(data)

    async with ModelServer(script, send_buffer_bytes=64 * 1024) as model, generating(model) as it:
        await eventually(lambda: it.journal.chars > 10_000)
        it.leave()
        frames, sent_before = it.journal.events, sent
        await asyncio.wait_for(held_back.wait(), PATIENCE_SECONDS)
        assert it.journal.events == frames
        assert sent - sent_before < 16 * 1024 * 1024, "no more than the kernel's buffers hold"
        it.come_back()
        await eventually(lambda: it.journal.events > frames + 50)
        await it.interrupt()
        assert model.connections[0].is_closed()
        numbers = [int(piece.partition(",")[0]) for piece in it.journal.text.split("x" * 1_000)[:-1]]
        assert numbers == list(range(len(numbers)))


async def test_answer_is_whole_and_in_order_whenever_readers_leave_and_come_back() -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD)
        for number in range(2_000):
            await call.send(f"{number} ")
            if number % 100 == 0:
                await asyncio.sleep(0)
        await call.send(END)

    async with ModelServer(script) as model, generating(model) as it:
        while not it.task.done():
            await turns(3)
            it.leave()
            frames = it.journal.events
            await turns(3)
            assert it.journal.events == frames
            it.come_back()
        assert isinstance(await it.task, Commit)
        assert it.journal.text == "".join(f"{number} " for number in range(2_000))


async def test_silence_while_nobody_reads_is_no_timeout() -> None:
    go = asyncio.Event()

    async def script(call: Call) -> None:
        await call.send(HEAD, "a")
        await go.wait()
        await call.send("b", END)

    async with ModelServer(script) as model, generating(model, between_tokens_seconds=0.1) as it:
        await it.shown("a")
        it.leave()
        await asyncio.sleep(0.3)
        assert not it.task.done()
        it.come_back()
        go.set()
        assert isinstance(await it.task, Commit)
        assert it.journal.text == "ab"


@pytest.mark.parametrize("paused", [False, True])
async def test_hang_up_in_a_pause_is_told_from_one_that_a_reader_sees(paused: bool) -> None:
    sent, go = asyncio.Event(), asyncio.Event()

    async def script(call: Call) -> None:
        await call.send(HEAD, "a")
        await go.wait()
        await call.send("b")
        sent.set()

    async with ModelServer(script) as model, generating(model) as it:
        await it.shown("a")
        if paused:
            it.leave()
        go.set()
        await sent.wait()
        await model.all_closed()
        if paused:
            await turns(10)
            it.come_back()
        with pytest.raises(ProviderError) as caught:
            await it.task
        assert (caught.value.code, caught.value.in_pause, it.journal.text) == ("interrupted", paused, "ab")


async def test_end_that_is_held_back_stays_in_front_of_text_that_may_begin_a_picture() -> None:
    end = asyncio.Event()
    # At the end of the body, the text in front of the second `![` can be pushed; the second `![` waits.
    last = b'data: {"choices":[{"delta":{"content":"\\n\\nb !["},"finish_reason":"stop"}]}'

    async def script(call: Call) -> None:
        await call.send(HEAD, "a![")
        await end.wait()
        await call.send(last)

    async with ModelServer(script) as model, generating(model) as it:
        await it.shown("a")
        it.leave()
        end.set()
        await model.all_closed()
        await turns(10)
        it.come_back()
        time.sleep(2 * HOLD_SECONDS)  # the loop is late: now it is time to show what waits
        assert isinstance(await it.task, Commit)
        assert it.journal.text == "a![\n\nb !["


# --- memory ---------------------------------------------------------------------------------------------------


class Text(str):
    """A text of which one can see whether it is still in memory."""

    __slots__ = ("__weakref__",)


async def test_prompt_is_kept_until_the_answer_begins_and_no_longer() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def script(call: Call) -> None:
        asked.set()
        await go.wait()
        await call.send(HEAD, "a")
        await call.closed()

    async with ModelServer(script) as model, generating(model) as it:
        text = Text("a long question")
        kept = weakref.ref(text)
        it.prompts = [Prompt((Turn("user", text),))]
        del text
        await asked.wait()
        assert kept() is not None, "the model may have to be asked again"
        go.set()
        await it.shown("a")
        assert kept() is None


# --- turns of the loop ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [token("x"), b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'])
async def test_chunk_with_very_many_deltas_leaves_others_their_turns(event: bytes) -> None:
    async def script(call: Call) -> None:
        await call.send(HEAD + event * 10_000 + END)
        await call.closed()

    async with ModelServer(script) as model, generating(model) as it:
        most = await most_per_turn(lambda: it.journal.events, it.task.done)
        assert isinstance(await it.task, Commit)
        assert it.journal.events == 10_000
    assert most <= 2 * DELTAS_PER_TURN, "the last ones of a chunk, and the first ones of the next"


async def test_many_models_that_send_much_at_once_leave_others_their_turns() -> None:
    release = asyncio.Event()

    async def flood(call: Call) -> None:
        await call.send(HEAD)
        await release.wait()
        await call.send(token("x") * 1_000 + END)
        await call.closed()

    sinks = [BusySink() for _ in range(20)]
    async with ModelServer(flood) as model:
        one = provider(model.base_url)
        answers = asyncio.gather(*[one.generate(PROMPT, sink) for sink in sinks])
        await eventually(lambda: model.calls == len(sinks))
        release.set()
        most = await most_per_turn(lambda: sum(sink.pushes for sink in sinks), answers.done)
        await answers
    assert all(sink.pushes > 10 for sink in sinks)
    assert most <= 6


# --- the end at any moment ------------------------------------------------------------------------------------


def sending(*parts: str | bytes) -> Script:
    async def script(call: Call) -> None:
        await call.send(*parts)
        await call.closed()

    return script


MOMENTS = {
    "before the head": (sending(), ""),
    "in the head": (sending(HEAD[:30]), ""),
    "after the head": (sending(HEAD), ""),
    "in the size of a chunk": (sending(CHUNKED_HEAD, b"1"), ""),
    "in a chunk": (sending(CHUNKED_HEAD, b"fff\r\n", "a", b'data: {"choi'), "a"),
    "between two tokens": (sending(HEAD, "a"), "a"),
    "while text is held back": (sending(HEAD, "a", "![b](data:image/png"), "a"),
    "after the stop reason": (sending(HEAD, token("a", finish_reason="stop")), "a"),
    "in an error's body": (sending(b"HTTP/1.1 500 X\r\n\r\n", b"{"), ""),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_interrupted_answer_closes_the_connection_before_it_ends(moment: str) -> None:
    script, text = MOMENTS[moment]
    async with ModelServer(script) as model, generating(model, retries=0) as it:
        await eventually(lambda: model.calls == 1)
        await it.shown(text)
        await turns(20)
        await it.interrupt()
        assert model.connections[0].is_closed()


async def test_interrupted_pause_closes_the_connection_and_appends_nothing() -> None:
    go = asyncio.Event()

    async def script(call: Call) -> None:
        await call.send(HEAD, "a")
        await go.wait()
        await call.send("b" * 10_000)
        await call.closed()

    async with ModelServer(script) as model, generating(model) as it:
        await it.shown("a")
        it.leave()
        go.set()
        await turns(50)
        await it.interrupt()
        assert model.connections[0].is_closed()
        it.come_back()
        await turns(10)
        assert it.journal.text == "a"


async def test_interruption_within_a_long_chunk_ends_it_at_once() -> None:
    async with ModelServer(sending(HEAD + token("x") * 10_000)) as model, generating(model) as it:
        await eventually(lambda: it.journal.chars > 0)
        assert it.journal.chars < 5_000
        await it.interrupt()
        assert model.connections[0].is_closed()


async def test_interruption_while_connecting_ends_it_at_once() -> None:
    # Nobody accepts, and the queue is full: further connections hang.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            it = Generation("http://{}:{}/v1".format(*address))
            await turns(20)
            await it.interrupt()


async def test_interruption_between_two_tries_ends_it_at_once(caplog: pytest.LogCaptureFixture) -> None:
    script = sending(refusal(429, "Retry-After: 20"))
    async with ModelServer(script) as model, generating(model, retries=1) as it:
        await eventually(lambda: bool(caplog.records))  # the line says that the model will be asked again
        assert model.connections[0].is_closed()
        await it.interrupt()
        assert len(model.connections) == 1


async def test_nothing_is_appended_after_an_interruption() -> None:
    """At any moment, while the model sends on and on."""

    async def flood(call: Call) -> None:
        await call.send(HEAD)
        while not call.is_closed():
            await call.send(token("x") * 50)
            await asyncio.sleep(0)

    async with ModelServer(flood) as model:
        for count in range(30):
            async with generating(model) as it:
                await eventually(lambda it=it: it.journal.chars > 0)
                await turns(count)
                await it.interrupt()
                await turns(5)
                frames = it.journal.events
                await turns(5)
                assert it.journal.events == frames
        for count in range(1, 100, 9):
            async with generating(model) as it:
                frames = 0
                asked = False

                def interrupt(it: Generation = it) -> None:
                    nonlocal frames
                    frames = it.journal.events
                    it.interruption.request(Interrupt.DISCARD)

                def see(it: Generation = it, count: int = count, interrupt: Callable[[], None] = interrupt) -> None:
                    nonlocal asked
                    if not asked and it.journal.events >= count:
                        asked = True
                        asyncio.get_running_loop().call_soon(interrupt)

                it.journal.add_waker(see)
                assert await it.task == Interrupted(Interrupt.DISCARD)
                await turns(5)
                assert it.journal.events == frames >= count
        assert all(call.is_closed() for call in model.connections)


# --- the loop of the server -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "test",
    [
        test_endless_model_is_held_back_while_nobody_reads_and_goes_on_for_a_reader,
        test_answer_is_whole_and_in_order_whenever_readers_leave_and_come_back,
        test_end_that_is_held_back_stays_in_front_of_text_that_may_begin_a_picture,
        test_interrupted_pause_closes_the_connection_and_appends_nothing,
        test_interruption_within_a_long_chunk_ends_it_at_once,
        test_interruption_while_connecting_ends_it_at_once,
        test_nothing_is_appended_after_an_interruption,
    ],
)
def test_it_is_the_same_with_uvloop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
