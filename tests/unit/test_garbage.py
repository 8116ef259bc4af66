"""When full garbage collections are made."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Iterator
from typing import Any

import pytest

from chatserver.garbage import CALM_LOAD, CALM_LOOKS, LOOK_SECONDS, MOST_LOOKS, MOST_SECONDS, GarbageCollection
from tests.kit.start_stop import BackgroundService, check_start_stop
from tests.kit.virtual_time import in_virtual_time


@pytest.fixture
def full_collections() -> Iterator[list[int]]:
    """How many objects each full collection since the test began has found."""
    made: list[int] = []

    def count(phase: str, info: dict[str, Any]) -> None:
        if phase == "stop" and info["generation"] == 2:
            made.append(info["collected"])

    gc.collect()
    gc.callbacks.append(count)
    yield made
    gc.callbacks.remove(count)


async def look_at_young_objects(times: int) -> None:
    """What Python does after many new objects; then give the collection a chance."""
    for _ in range(times):
        gc.collect(1)
    await asyncio.sleep(2 * LOOK_SECONDS)


@in_virtual_time
async def check_load(load: int, looks: int, full_collections: list[int]) -> None:
    collection = GarbageCollection(lambda: load)
    collection.start()
    # Python itself may have looked a few times, too.
    await look_at_young_objects(looks - 10)
    assert full_collections == []
    await look_at_young_objects(10)
    assert len(full_collections) == 1
    collection.close()


def test_calm_process_collects_all_garbage_soon(full_collections: list[int]) -> None:
    check_load(CALM_LOAD, CALM_LOOKS, full_collections)


def test_busy_process_collects_all_garbage_seldom_and_at_last(full_collections: list[int]) -> None:
    check_load(CALM_LOAD + 1, MOST_LOOKS, full_collections)


@in_virtual_time
async def test_busy_process_collects_all_garbage_after_ten_minutes_at_the_latest(full_collections: list[int]) -> None:
    collection = GarbageCollection(lambda: CALM_LOAD + 1)
    collection.start()
    await asyncio.sleep(MOST_SECONDS - 1)
    assert full_collections == []
    await asyncio.sleep(2)
    assert len(full_collections) == 1
    collection.close()


def test_python_makes_no_full_collection_by_itself_until_close(full_collections: list[int]) -> None:
    async def make_objects() -> None:
        collection = GarbageCollection(lambda: CALM_LOAD + 1)
        before = gc.get_threshold()
        collection.start()
        # Python makes one after about the product of its thresholds, if a quarter of all objects are new.
        count = max(2 * math.prod(before), len(gc.get_objects()))
        kept = [[number] for number in range(count)]
        assert len(kept) == count
        assert full_collections == []
        collection.close()
        assert gc.get_threshold() == before

    asyncio.run(make_objects())


async def test_service_keeps_the_contract_of_starting_and_stopping() -> None:
    await check_start_stop(
        BackgroundService(
            make=lambda: GarbageCollection(lambda: 0),
            start=GarbageCollection.start,
            stop=GarbageCollection.close,
            runs=lambda collection: collection.running,
            restarts=False,
        )
    )
