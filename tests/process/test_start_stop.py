"""Every background service keeps the one contract of starting and stopping; see `tests/kit/start_stop.py`."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from chatserver import children
from chatserver.errors import DatabaseUnavailableError
from chatserver.ids import uuid7
from chatserver.live.leases import Leases
from chatserver.live.queue import Queues
from chatserver.local_model import LocalModel
from chatserver.metrics import Metrics
from chatserver.rendering.client import Renderer
from chatserver.services.database_watch import DatabaseWatch
from chatserver.services.rendering import RenderingService
from chatserver.storage.postgres.database import Database
from chatserver.storage.postgres.embedded import EmbeddedPostgres
from chatserver.web.http.hangups import Hangups
from tests.kit.memory_store import LEASE_SECONDS, MemoryDatabase, MemoryStore
from tests.kit.start_stop import BackgroundService, check_start_stop

# Speaks as the renderer does, and is started in no time.
ECHO = """
import json, sys
print('"ready"', flush=True)
for line in sys.stdin: print(json.dumps(json.loads(line)[:2]), flush=True)
"""
RENDERER = (sys.executable, "-I", "-S", "-c", ECHO)


def open_files(name: str) -> int:
    """The number of this process's open files with this name, or with a name that ends so."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += str(entry.readlink()).endswith(name)
        except OSError:
            continue
    return count


async def test_renderer_keeps_contract_and_starts_again() -> None:
    """Callers take turns: a `render` ends before the next `render` or `close`."""
    await check_start_stop(
        BackgroundService(
            make=lambda: Renderer(RENDERER),
            start=lambda renderer: renderer.render("a"),
            stop=lambda renderer: renderer.close(),
            runs=lambda renderer: renderer.pid is not None,
            restarts=True,
            concurrent=False,
        )
    )


async def test_rendering_service_keeps_contract_and_stays_stopped() -> None:
    renderers: dict[RenderingService, Renderer] = {}

    def make() -> RenderingService:
        renderer = Renderer(RENDERER)
        service = RenderingService(renderer, request_seconds=10)
        renderers[service] = renderer
        return service

    await check_start_stop(
        BackgroundService(
            make=make,
            start=lambda service: service.render(["a", str(uuid7())]),
            stop=lambda service: service.close(),
            runs=lambda service: renderers[service].pid is not None,
            restarts=False,
        )
    )


async def test_hangups_keep_contract_and_stay_closed() -> None:
    before = open_files("anon_inode:[eventpoll]")
    with ExitStack() as stack:
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        stack.enter_context(theirs)
        await check_start_stop(
            BackgroundService(
                make=Hangups,
                start=lambda hangups: hangups.watch(ours, lambda: None),
                stop=lambda hangups: hangups.close(),
                runs=lambda _: open_files("anon_inode:[eventpoll]") > before,
                restarts=False,
            )
        )


async def test_database_keeps_contract_and_stays_closed(database_url: str) -> None:
    def make() -> Database:
        return Database(database_url, connections=2, statement_timeout_seconds=10, metrics=Metrics("0"))

    await check_start_stop(
        BackgroundService(
            make=make,
            start=lambda database: database.autocommit(lambda connection: connection.execute(text("SELECT 1")).all()),
            stop=lambda database: database.close(),
            runs=lambda _: any(thread.name.startswith("database_") for thread in threading.enumerate()),
            restarts=False,
            refusals=(DatabaseUnavailableError,),
        )
    )


@pytest.fixture
def kept_folder(tmp_path: Path) -> Iterator[Path]:
    """The data directory of an embedded database that runs throughout the test."""
    keeper = EmbeddedPostgres(tmp_path)
    keeper.start()
    yield tmp_path
    keeper.stop()


async def test_embedded_database_keeps_contract_and_starts_again(kept_folder: Path) -> None:
    """One user among others: tests of the server's own start and end are in `test_embedded.py`. Callers take turns."""
    lock = f"{kept_folder.name}/postgres/users.lock"
    held = open_files(lock)

    def in_thread(method: Callable[[EmbeddedPostgres], object]) -> Callable[[EmbeddedPostgres], Awaitable[object]]:
        return lambda server: asyncio.to_thread(method, server)

    await check_start_stop(
        BackgroundService(
            make=lambda: EmbeddedPostgres(kept_folder),
            start=in_thread(EmbeddedPostgres.start),
            stop=in_thread(EmbeddedPostgres.stop),
            runs=lambda _: open_files(lock) > held,
            restarts=True,
            concurrent=False,
        )
    )


async def test_database_watch_keeps_contract_and_stays_closed(kept_folder: Path) -> None:
    embedded = EmbeddedPostgres(kept_folder)
    database = Database(embedded.start(), connections=1, statement_timeout_seconds=10, metrics=Metrics("0"))
    await check_start_stop(
        BackgroundService(
            make=lambda: DatabaseWatch(embedded, database),
            start=lambda watch: watch.start(),
            stop=lambda watch: watch.close(),
            runs=lambda watch: watch.running,
            restarts=False,
        )
    )
    database.close()
    embedded.stop()


async def test_leases_keep_contract_and_stay_closed() -> None:
    def make() -> Leases:
        store = MemoryStore(MemoryDatabase(asyncio.get_running_loop().time, lambda request: None))
        return Leases(store, Queues(max_runs=1), add_no_run, lambda: True, lease_seconds=LEASE_SECONDS)

    def add_no_run(key: object, claimed: object) -> None:
        raise AssertionError("nothing is abandoned")

    await check_start_stop(
        BackgroundService(
            make=make,
            start=lambda leases: leases.start(),
            stop=lambda leases: leases.close(),
            runs=lambda leases: leases.running,
            restarts=False,
        )
    )


async def test_local_model_stops_once_and_for_all() -> None:
    """It runs from its making on, so a start has no effect."""
    processes: dict[LocalModel, int] = {}

    async def make() -> LocalModel:
        child = await children.start(["cat"], "stand-in")
        model = LocalModel(child, "http://127.0.0.1:9/v1")
        processes[model] = child.pid
        return model

    def runs(model: LocalModel) -> bool:
        try:
            os.kill(processes[model], 0)
        except ProcessLookupError:
            return False
        return True

    await check_start_stop(
        BackgroundService(make=make, start=lambda _: None, stop=lambda model: model.stop(), runs=runs, restarts=False)
    )
