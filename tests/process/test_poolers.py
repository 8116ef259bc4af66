"""Transaction poolers: one that the settings say nothing of is noticed, and with `listen_database_url` all works."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.kit.cutting_proxy import CuttableProxy
from tests.kit.event_stream import text_of
from tests.kit.http_client import stream_path
from tests.kit.model_server import ModelServer
from tests.kit.pgbouncer import pgbouncer
from tests.kit.process_table import ROOT
from tests.kit.server_process import started

pytestmark = pytest.mark.pgbouncer

# Longer than a command takes that does not get anywhere.
PATIENCE_SECONDS = 60.0
DIRECT = "listen_database_url leads through a transaction pooler: it must be a direct address of the database"
POOLED = "database_url leads through a transaction pooler: set listen_database_url to a direct address of the database"
OTHER = "listen_database_url leads to another database than database_url"


@pytest.fixture
def port(database_url: str) -> Iterator[int]:
    """The TCP port of the test's PostgreSQL."""
    with CuttableProxy(database_url) as proxy:
        yield proxy.port


def refusal(url: str, listen_url: str | None = None) -> str:
    """What a start says that is refused."""
    environment = {"CHATSERVER_DATABASE_URL": url}
    if listen_url is not None:
        environment["CHATSERVER_LISTEN_DATABASE_URL"] = listen_url
    result = subprocess.run(
        [sys.executable, "-m", "chatserver", "serve", "--port", "0"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    return result.stderr.removeprefix("chatserver: ").rstrip("\n")


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize(("pool_size", "round_robin"), [(1, False), (20, False), (2, True), (20, True)])
def test_pooler_that_the_settings_say_nothing_of_is_refused(
    database_url: str, port: int, mode: str, pool_size: int, round_robin: bool
) -> None:
    with pgbouncer(database_url, port, mode=mode, pool_size=pool_size, round_robin=round_robin) as url:
        assert refusal(url) == POOLED


def test_pooler_in_front_of_what_listens_and_another_database_are_refused(
    database_url: str, postgres_url: str, port: int
) -> None:
    with pgbouncer(database_url, port) as url:
        assert refusal(url, url) == DIRECT
        assert refusal(url, postgres_url) == OTHER


async def test_pooler_of_sessions_is_none(database_url: str, port: int) -> None:
    with pgbouncer(database_url, port, mode="session", pool_size=60) as url:
        async with started("--database-url", url) as server:
            assert (await server.request("GET", "/readyz")).status == 200


async def test_all_works_behind_a_transaction_pooler(database_url: str, port: int) -> None:
    """Two servers: a conversation read at both, a stop at the other one, and a takeover."""
    with pgbouncer(database_url, port, pool_size=5) as url:
        setting = {"CHATSERVER_LISTEN_DATABASE_URL": database_url, "CHATSERVER_LEASE_SECONDS": "2"}
        async with (
            ModelServer() as model,
            started("--database-url", url, **model.environment, **setting) as one,
            started("--database-url", url, **model.environment, **setting) as two,
        ):
            conversation = await one.conversation()
            question = await one.say(conversation, "x")
            stream = await one.stream(conversation, question)
            call = await model.call()
            joined = await two.stream(conversation, question)
            for piece in ("one ", "two ", "three"):
                await call.send(piece)
                assert (await stream.event())["content"] == (await joined.event())["content"] == piece
            await call.finish()
            assert (await stream.rest())[-1] == (await joined.rest())[-1]
            contents = [message["content"] for message in await two.messages(conversation)]
            assert contents == ["x", "one two three"]

            stream = await one.open(stream_path(conversation), method="POST", body={"content": "y"})
            call = await model.call()
            await call.send("stopped")
            await stream.event()
            assert await two.ok("POST", f"/api/conversations/{conversation}/stop", {"keep": True}) == {"stopped": True}
            assert (await stream.rest())[-1]["type"] == "stopped"

            question = await one.say(conversation, "z")
            stream = await one.stream(conversation, question)
            call = await model.call()
            joined = await two.stream(conversation, question)
            await call.send("lost")
            assert (await joined.event())["content"] == "lost"
            await one.kill()
            call = await model.call()
            await call.send("anew")
            await call.finish()
            events = await joined.rest()
            assert {"type": "reset"} in events
            assert (text_of(events), events[-1]["type"]) == ("anew", "done")
