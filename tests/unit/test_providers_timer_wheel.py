"""One timer for many that tick."""

from __future__ import annotations

import asyncio

import pytest

from chatserver.providers.base import Delta, Prompt, TextDelta, Turn
from chatserver.providers.echo import EchoProvider
from chatserver.providers.timer_wheel import TimerWheel
from tests.kit.loop_turns import most_per_turn, work
from tests.kit.virtual_time import in_virtual_time, now


def count_timers() -> list[float]:
    """How far ahead each timer is that the running loop sets from now on."""
    loop = asyncio.get_running_loop()
    set_timer, ahead = loop.call_at, []

    def call_at(when: float, *args: object, **options: object) -> asyncio.TimerHandle:
        ahead.append(when - loop.time())
        return set_timer(when, *args, **options)  # type: ignore[arg-type]

    loop.call_at = call_at  # type: ignore[method-assign, assignment]
    return ahead


@in_virtual_time
async def test_calls_are_made_at_their_times_rounded_up_to_a_millisecond() -> None:
    wheel, calls = TimerWheel(), []
    for when in (0.0302, 0.01, 0.02, 0.0101, 0.011, 1.0):
        wheel.call_at(when, lambda when=when: calls.append((when, round(now(), 6))))
    await asyncio.sleep(2)
    assert sorted(calls) == [(0.01, 0.01), (0.0101, 0.011), (0.011, 0.011), (0.02, 0.02), (0.0302, 0.031), (1.0, 1.0)]


@in_virtual_time
async def test_calls_of_a_slot_are_made_together_at_its_end() -> None:
    wheel, calls = TimerWheel(slot_ms=5), []
    for when in (0.0001, 0.003, 0.005, 0.0051, 0.01, 0.5):
        wheel.call_at(when, lambda when=when: calls.append((when, round(now(), 6))))
    await asyncio.sleep(2)
    assert sorted(calls) == [
        (0.0001, 0.005), (0.003, 0.005), (0.005, 0.005), (0.0051, 0.01), (0.01, 0.01), (0.5, 0.5)
    ]  # fmt: skip


@in_virtual_time
async def test_earlier_call_comes_before_one_that_is_waited_for() -> None:
    wheel, calls = TimerWheel(), []
    wheel.call_at(1.0, lambda: calls.append("late"))
    wheel.call_at(0.5, lambda: calls.append("early"))
    await asyncio.sleep(0.7)
    assert calls == ["early"]
    await asyncio.sleep(0.5)
    assert calls == ["early", "late"]


@in_virtual_time
async def test_many_calls_share_timers_and_none_is_shorter_than_a_millisecond() -> None:
    wheel, left = TimerWheel(), [1_000]
    ahead = count_timers()

    def tick() -> None:
        left[0] -= 1
        if left[0] > 0:
            wheel.call_at(now() + 0.0001, tick)

    for _ in range(100):
        wheel.call_at(0.005, tick)
    await asyncio.sleep(1)
    assert left[0] <= 0
    assert len(ahead) < 20
    assert min(ahead) > 0.0009


async def test_calls_that_take_long_leave_others_their_turns() -> None:
    wheel, made = TimerWheel(), 0

    def call() -> None:
        nonlocal made
        work(0.001)
        made += 1

    due = asyncio.get_running_loop().time() + 0.01
    for _ in range(20):
        wheel.call_at(due, call)
    assert await most_per_turn(lambda: made, lambda: made == 20) <= 3


@in_virtual_time
async def test_call_that_raises_is_reported_and_the_others_are_made() -> None:
    wheel, calls, reported = TimerWheel(), [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    fault = ValueError("a fault")

    def fail() -> None:
        raise fault

    for when in (0.01, 0.02):
        wheel.call_at(when, lambda when=when: calls.append(when))
        wheel.call_at(when, fail)
        wheel.call_at(when, lambda when=when: calls.append(when))
    await asyncio.sleep(0.1)
    assert (calls, reported) == ([0.01, 0.01, 0.02, 0.02], [fault, fault])
    wheel.call_at(0.2, lambda: calls.append(0.2))
    await asyncio.sleep(0.2)
    assert calls[4:] == [0.2]


@in_virtual_time
async def test_call_for_a_time_that_has_passed_is_made_once() -> None:
    wheel, calls = TimerWheel(), []
    wheel.call_at(0.01, lambda: wheel.call_at(0.001, lambda: calls.append("late")))
    await asyncio.sleep(0.1)
    assert calls == ["late"]


@in_virtual_time
async def test_closed_wheel_makes_no_call() -> None:
    wheel, calls = TimerWheel(), []
    wheel.call_at(0.01, lambda: calls.append(1))
    wheel.close()
    await asyncio.sleep(1)
    assert calls == []


@in_virtual_time
async def test_wheel_that_a_call_closes_makes_no_further_call() -> None:
    wheel, calls, reported = TimerWheel(), [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    wheel.call_at(0.01, lambda: calls.append(1))
    wheel.call_at(0.01, wheel.close)
    await asyncio.sleep(1)
    assert (calls, reported) == ([], [])


# --- the echo on it -------------------------------------------------------------------------------------------


class Taking:
    """A sink that takes all; `texts` with the times at which they came."""

    wanted = True

    def __init__(self) -> None:
        self.texts: list[tuple[float, str]] = []

    def push(self, deltas: list[Delta]) -> None:
        self.texts += [(round(now(), 6), delta.text) for delta in deltas if isinstance(delta, TextDelta)]


@in_virtual_time
async def test_paced_answers_share_one_timer() -> None:
    echo, sinks = EchoProvider(0.005), [Taking() for _ in range(200)]
    ahead = count_timers()
    prompt = Prompt((Turn("user", "a b c"),))
    await asyncio.gather(*[echo.generate(prompt, sink) for sink in sinks])  # type: ignore[arg-type]
    assert len(ahead) <= 12
    for sink in sinks:
        assert [text for _, text in sink.texts] == ["Echo", " ", "from", " ", "agent:", " ", "a", " ", "b", " ", "c"]
        assert [when for when, _ in sink.texts] == pytest.approx([number * 0.005 for number in range(11)])


@in_virtual_time
async def test_cancelled_answer_pushes_nothing_more() -> None:
    echo, sink = EchoProvider(0.005), Taking()
    task = asyncio.create_task(echo.generate(Prompt((Turn("user", "a b c"),)), sink))  # type: ignore[arg-type]
    await asyncio.sleep(0.012)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(1)
    assert [text for _, text in sink.texts] == ["Echo", " ", "from"]
