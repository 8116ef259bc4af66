"""Notifications are heard, and again after every loss of the connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from chatserver.metrics import Metrics
from chatserver.storage.postgres import notifications as module
from chatserver.storage.postgres.notifications import HEARD_PER_TURN, Notifications
from tests.kit.waiting import eventually


class Ear:
    """What was heard on one channel."""

    def __init__(self, notifications: Notifications) -> None:
        self.channel = f"channel_{uuid4().hex}"
        self.heard: list[str] = []
        self._came = asyncio.Event()
        self._notifications = notifications
        notifications.listen(self.channel, self._hear)

    def _hear(self, payload: str) -> None:
        self.heard.append(payload)
        self._came.set()

    async def hears(self, payloads: list[str]) -> None:
        """Return when that is what was heard since the last call."""
        async with asyncio.timeout(20):
            while len(self.heard) < len(payloads):
                self._came.clear()
                await self._came.wait()
        assert self.heard == payloads
        self.heard.clear()

    def forget(self) -> None:
        self._notifications.unlisten(self.channel)


@pytest.fixture
def speaker(module_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        yield connection


Notify = Callable[..., None]


@pytest.fixture
def notify(speaker: psycopg.Connection[Any]) -> Notify:
    def notify(ear: Ear, *payloads: str) -> None:
        with speaker.transaction():
            for payload in payloads:
                speaker.execute("SELECT pg_notify(%s, %s)", [ear.channel, payload])

    return notify


@asynccontextmanager
async def listening(url: str, *, start: bool = True) -> AsyncIterator[Notifications]:
    notifications = Notifications(url, Metrics("0"))
    if start:
        notifications.start()
    try:
        yield notifications
    finally:
        await notifications.close()
        assert not notifications.connected


def backend_of(speaker: psycopg.Connection[Any], ear: Ear) -> int:
    """The process of PostgreSQL that the channel was made known to."""
    found = "SELECT pid FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid()"
    row = speaker.execute(found, [f"%{ear.channel}%"]).fetchone()
    assert row is not None
    return int(row[0])


async def test_payloads_are_heard_in_their_order_from_the_first_on(module_database_url: str, notify: Notify) -> None:
    async with listening(module_database_url) as notifications:
        one, other = Ear(notifications), Ear(notifications)
        await asyncio.gather(one.hears([""]), other.hears([""]))
        notify(one, "a", "b é😀")
        notify(other, "c")
        await asyncio.gather(one.hears(["a", "b é😀"]), other.hears(["c"]))
        one.forget()
        late = Ear(notifications)
        await late.hears([""])
        notify(one, "lost")
        notify(late, "d")
        await late.hears(["d"])
        assert (one.heard, other.heard) == ([], [])
        many = [str(number) for number in range(5 * HEARD_PER_TURN)]
        notify(late, *many)
        await late.hears(many)


async def test_channel_that_is_taken_up_again_at_once_is_heard(module_database_url: str, notify: Notify) -> None:
    async with listening(module_database_url) as notifications:
        ear = Ear(notifications)
        await ear.hears([""])
        ear.forget()
        notifications.listen(ear.channel, ear._hear)
        await ear.hears([""])
        notify(ear, "a")
        await ear.hears(["a"])


async def test_whoever_listens_is_told_to_look_after_a_loss(
    module_database_url: str, speaker: psycopg.Connection[Any], notify: Notify
) -> None:
    async with listening(module_database_url, start=False) as notifications:
        ear = Ear(notifications)
        await asyncio.sleep(0)
        assert ear.heard == []
        notifications.start()
        await ear.hears([""])
        for _ in range(2):
            speaker.execute("SELECT pg_terminate_backend(%s)", [backend_of(speaker, ear)])
            await ear.hears([""])
            notify(ear, "a")
            await ear.hears(["a"])


async def test_server_that_answers_nothing_is_given_up(
    module_database_url: str, speaker: psycopg.Connection[Any], notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    async with listening(module_database_url) as notifications:
        ear = Ear(notifications)
        await ear.hears([""])
        backend = backend_of(speaker, ear)
        os.kill(backend, signal.SIGSTOP)
        try:
            await ear.hears([""])
            notify(ear, "a")
            await ear.hears(["a"])
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(backend, signal.SIGCONT)


async def test_close_waits_for_no_server(
    module_database_url: str, speaker: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    async with listening(module_database_url) as notifications:
        ear = Ear(notifications)
        await ear.hears([""])
        backend = backend_of(speaker, ear)
        os.kill(backend, signal.SIGSTOP)
        try:
            asking = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND query LIKE '%%LISTEN%%'"
            await eventually(lambda: speaker.execute(asking, [backend]).fetchone() is not None)
            async with asyncio.timeout(module.ANSWER_SECONDS):
                await notifications.close()
        finally:
            os.kill(backend, signal.SIGCONT)


async def test_unreachable_server_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with listening("postgresql://127.0.0.1:1/nothing") as notifications:
        Ear(notifications)
        await eventually(lambda: "cannot be heard" in caplog.text)
        assert not notifications.connected
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_defect_of_one_listener_hides_nothing_from_others(
    module_database_url: str, notify: Notify, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(module_database_url) as notifications:
        ear = Ear(notifications)
        await ear.hears([""])

        def defect(_: str) -> None:
            raise RuntimeError("a defect")

        notifications.listen("defect", defect)
        await eventually(lambda: "could not be taken in" in caplog.text)
        notify(ear, "a")
        await ear.hears(["a"])
