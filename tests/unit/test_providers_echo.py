"""The echo provider, in virtual time."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.base import Delta, Finish, Prompt, TextDelta, Turn
from chatserver.providers.echo import EchoProvider
from tests.kit.pulled_answer import PulledAnswer
from tests.kit.virtual_time import in_virtual_time, now


def asking(content: str) -> Prompt:
    return Prompt((Turn("user", "earlier"), Turn("assistant", "answer"), Turn("user", content)))


async def answer(prompt: Prompt) -> list[Delta | Finish]:
    return [delta async for delta in PulledAnswer(EchoProvider(), prompt)]


@in_virtual_time
async def test_text_is_split_into_words_and_white_space() -> None:
    pieces = ["Echo", " ", "from", " ", "agent:", "   ", "a", "\n\t", "b.c"]
    assert await answer(asking("  a\n\tb.c")) == [*map(TextDelta, pieces), Finish("stop", None)]


@in_virtual_time
async def test_prompt_without_a_message_gets_a_fixed_answer() -> None:
    pieces = ["No", " ", "message", " ", "to", " ", "echo."]
    assert await answer(Prompt(())) == [*map(TextDelta, pieces), Finish("stop", None)]
    assert EchoProvider.needs_user_turn is False


@given(content=st.text(min_size=1))
@in_virtual_time
async def test_joined_pieces_are_the_text(content: str) -> None:
    *pieces, end = await answer(asking(content))
    assert end == Finish("stop", None)
    texts = [piece.text for piece in pieces if isinstance(piece, TextDelta)]
    assert "".join(texts) == f"Echo from agent: {content}"
    for one, two in itertools.pairwise(texts):
        assert one.isspace() != two.isspace()


@pytest.mark.parametrize("busy_seconds", [0, 0.001, 0.0049])
@in_virtual_time
async def test_pace_is_kept_with_a_slow_consumer(busy_seconds: float) -> None:
    times = []
    async for _ in PulledAnswer(EchoProvider(0.005), asking("x " * 500)):
        times.append(now())
        await asyncio.sleep(busy_seconds)
    times.pop()  # the end comes without a pause
    assert times == pytest.approx([number * 0.005 for number in range(len(times))], abs=1e-6)


@pytest.mark.parametrize("pace_seconds", [0.0005, 0.001, 0.003, 0.005, 0.0125, 0.02, 0.035])
@in_virtual_time
async def test_pace_is_even_from_whenever_an_answer_begins(pace_seconds: float) -> None:
    await asyncio.sleep(0.0123)
    times = [now() async for _ in PulledAnswer(EchoProvider(pace_seconds), asking("x " * 100))][:-1]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times[1:])]
    # A piece comes at the end of its millisecond.
    assert gaps == pytest.approx([max(pace_seconds, 0.001)] * len(gaps), abs=0.00101)
    assert times[1] - times[0] < pace_seconds + 0.00501


@in_virtual_time
async def test_pause_is_followed_by_no_burst() -> None:
    times = []
    async for _ in PulledAnswer(EchoProvider(0.005), asking("x " * 20)):
        times.append(now())
        if len(times) == 10:
            await asyncio.sleep(60)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[9] == pytest.approx(60)  # at once when the consumer is back
    assert gaps[:9] + gaps[10:-1] == pytest.approx([0.005] * (len(gaps) - 2))


@in_virtual_time
async def test_other_tasks_run_without_a_pace() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    pieces = [delta async for delta in PulledAnswer(EchoProvider(0), asking("x " * 1_000))]
    task.cancel()
    await asyncio.wait([task])
    assert turns >= len(pieces) // 64
    assert now() == 0
