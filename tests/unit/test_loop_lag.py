"""How late the event loop is: what the metric shows of a loop that is held up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatserver.loop_lag import SAMPLE_SECONDS, LoopLag
from chatserver.metrics import Metrics
from tests.kit.start_stop import BackgroundService, check_start_stop
from tests.kit.waiting import eventually


def samples(metrics: Metrics, most_seconds: str = "+Inf") -> float:
    """How many samples there were of at most so many seconds, which is a bound of the histogram."""
    return metrics.registry.get_sample_value("chatserver_loop_lag_seconds_bucket", {"le": most_seconds}) or 0.0


def late_samples(metrics: Metrics) -> float:
    """How many samples there were of more than a quarter of a second."""
    return samples(metrics) - samples(metrics, "0.25")


@asynccontextmanager
async def observed() -> AsyncIterator[Metrics]:
    metrics = Metrics("1.2.3")
    lag = LoopLag(metrics.loop_lag_seconds)
    lag.start()
    try:
        yield metrics
    finally:
        lag.close()


async def test_loop_that_was_held_up_is_seen_in_the_metric() -> None:
    async with observed() as metrics:
        await eventually(lambda: samples(metrics) > 0)
        late = late_samples(metrics)
        time.sleep(SAMPLE_SECONDS + 0.3)  # blocks the loop; the timer is due within SAMPLE_SECONDS
        taken = samples(metrics)
        await eventually(lambda: samples(metrics) > taken)
        assert late_samples(metrics) > late


async def test_samples_go_on_after_each_other() -> None:
    async with observed() as metrics:
        await eventually(lambda: samples(metrics) >= 3)
        assert metrics.registry.get_sample_value("chatserver_loop_lag_seconds_sum") is not None


async def test_service_keeps_the_contract_of_starting_and_stopping() -> None:
    await check_start_stop(
        BackgroundService(
            make=lambda: LoopLag(Metrics("1.2.3").loop_lag_seconds),
            start=LoopLag.start,
            stop=LoopLag.close,
            runs=lambda lag: lag.running,
            restarts=False,
        )
    )


async def test_no_sample_is_taken_after_close() -> None:
    metrics = Metrics("1.2.3")
    lag = LoopLag(metrics.loop_lag_seconds)
    lag.start()
    await eventually(lambda: samples(metrics) > 0)
    lag.close()
    taken = samples(metrics)
    async with observed() as others:
        await eventually(lambda: samples(others) >= 2)
    assert samples(metrics) == taken
