"""The echo provider, against a clock that goes as far as it is told."""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.base import Delta, Finish, Prompt, TextDelta, Turn
from chatserver.providers.echo import EchoProvider


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Nothing takes time but waiting, and waiting is over at once; each wake-up comes `lateness_seconds` late."""

    def __init__(self, lateness_seconds: float = 0) -> None:
        self.now = 0.0
        loop = self

        class Selector(selectors.SelectSelector):
            def select(self, timeout: float | None = None) -> Any:
                if timeout:
                    loop.now += timeout + lateness_seconds
                return super().select(0)

        super().__init__(Selector())

    def time(self) -> float:
        return self.now


def run(test: Callable[[VirtualTimeLoop], Awaitable[None]], lateness_seconds: float = 0) -> None:
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(lateness_seconds)) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        runner.run(test(loop))  # type: ignore[arg-type]


def asking(content: str) -> Prompt:
    return Prompt((Turn("user", "earlier"), Turn("assistant", "answer"), Turn("user", content)))


def answer(prompt: Prompt) -> list[Delta]:
    deltas: list[Delta] = []

    async def collect(_: VirtualTimeLoop) -> None:
        deltas.extend([delta async for delta in EchoProvider().generate(prompt)])

    run(collect)
    return deltas


def test_words_and_white_space_apart() -> None:
    pieces = ["Echo", " ", "from", " ", "agent:", "   ", "a", "\n\t", "b.c"]
    assert answer(asking("  a\n\tb.c")) == [*map(TextDelta, pieces), Finish("stop", None)]


def test_no_message() -> None:
    pieces = ["No", " ", "message", " ", "to", " ", "echo."]
    assert answer(Prompt(())) == [*map(TextDelta, pieces), Finish("stop", None)]
    assert EchoProvider.needs_user_turn is False


@given(st.text(min_size=1))
def test_the_pieces_are_the_text(content: str) -> None:
    *pieces, end = answer(asking(content))
    assert end == Finish("stop", None)
    texts = [piece.text for piece in pieces if isinstance(piece, TextDelta)]
    assert "".join(texts) == f"Echo from agent: {content}"
    for one, two in itertools.pairwise(texts):
        assert one.isspace() != two.isspace()


@pytest.mark.parametrize("lateness_seconds", [0, 0.001])
def test_keeps_pace_however_late_it_wakes(lateness_seconds: float) -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        times = [loop.time() async for _ in EchoProvider(0.005).generate(asking("x " * 500))]
        assert times[0] == 0
        for number, moment in enumerate(times[:-1]):
            assert number * 0.005 <= moment + 1e-9 <= number * 0.005 + lateness_seconds + 1e-6

    run(test, lateness_seconds)


def test_no_burst_after_a_pause() -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        times = []
        async for _ in EchoProvider(0.005).generate(asking("x " * 20)):
            times.append(loop.time())
            if len(times) == 10:
                loop.now += 60
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert gaps[9] == pytest.approx(60)  # at once when the consumer is back
        assert gaps[:9] == pytest.approx([0.005] * 9)
        assert gaps[10:-1] == pytest.approx([0.005] * (len(gaps) - 11))

    run(test)


def test_other_tasks_get_a_turn_without_a_pace() -> None:
    async def test(loop: VirtualTimeLoop) -> None:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        pieces = [delta async for delta in EchoProvider(0).generate(asking("x " * 1_000))]
        task.cancel()
        assert turns >= len(pieces) // 64
        assert loop.time() == 0

    run(test)
