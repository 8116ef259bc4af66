"""Upgrades from the release before: one server after the other under load, and that of an embedded database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest

from chatserver.storage.postgres.migrate import revisions
from tests.kit import command, release_before
from tests.kit.event_stream import text_of
from tests.kit.model_server import ModelServer
from tests.kit.server_process import ServerProcess, started
from tests.kit.waiting import eventually
from tests.process.rolling_load import CountingModel, RollingLoad, check

SERVERS, CLIENTS = 3, 8
# How many answers come to their end in each state of the upgrade, at least.
ANSWERS = 8
UNFINISHED = "the database still serves the release before; when none of that runs: chatserver migrate --finish"
ENVIRONMENT = {
    "CHATSERVER_DRAIN_SECONDS": "1",
    # On a busy machine, too, no answer is begun anew because its reader comes back late.
    "CHATSERVER_RESUME_GRACE_SECONDS": "300",
}


def value(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        return None if row is None else row[0]


def revision(url: str) -> object:
    return value(url, "SELECT version_num FROM alembic_version")


def migrate(folder: Path, *arguments: str) -> str:
    """What `chatserver migrate` prints."""
    result = command.run(folder, "migrate", *arguments)
    assert (result.returncode, result.stderr) == (0, ""), result
    return result.stdout


@pytest.mark.release_before
async def test_servers_are_replaced_one_by_one_under_load(
    make_empty_database: Callable[[], str], tmp_path: Path
) -> None:
    url, old_code = make_empty_database(), tmp_path / "before"
    release_before.check_out(old_code)
    counting = CountingModel()
    async with ModelServer(counting.answer) as model, AsyncExitStack() as stack:

        async def start(number: int, code: Path) -> ServerProcess:
            main = model.settings["providers"]["main"]
            main["base_url"] += counting.path_of(number)
            environment = {
                **ENVIRONMENT,
                **model.environment,
                "CHATSERVER_PROVIDERS": json.dumps({"main": main}),
            }
            server = started("--database-url", url, log=tmp_path / f"{number}.log", code=code, **environment)
            return await stack.enter_async_context(server)

        before = {number: await start(number, old_code) for number in range(SERVERS)}
        assert revision(url) == release_before.REVISION
        load = RollingLoad(before, seed=72)
        load.start(CLIENTS)
        await load.more(ANSWERS)
        for number, server in before.items():
            load.servers[SERVERS + number] = await start(SERVERS + number, command.ROOT)
            await load.more(ANSWERS)
            load.leave(number)
            server.terminate()
            status, _ = await server.ended()
            assert status == 0
            await load.more(ANSWERS)
        half, newest = revisions()[-2:]
        assert (revision(url), half.half, newest.half) == (half.name, "before", "after")
        finished = await asyncio.to_thread(migrate, tmp_path, "--finish", "--database-url", url)
        assert finished == "the database is up to date\n"
        assert revision(url) == newest.name
        await load.more(ANSWERS)
        await load.end()
        await check(load, counting, load.servers[SERVERS])
        for left in ("chat_runs WHERE status = 'active'", "chat_frames"):
            await eventually(lambda left=left: value(url, f"SELECT count(*) FROM {left}") == 0)
    for number in range(2 * SERVERS):
        assert "Traceback" not in (tmp_path / f"{number}.log").read_text()


@pytest.mark.release_before
@pytest.mark.parametrize("owner_is_new", [False, True])
async def test_answer_goes_on_for_a_reader_at_the_other_release(
    make_empty_database: Callable[[], str], tmp_path: Path, owner_is_new: bool
) -> None:
    url, old_code = make_empty_database(), tmp_path / "before"
    release_before.check_out(old_code)
    arguments = ("--database-url", url)
    async with (
        ModelServer() as model,
        started(*arguments, log=tmp_path / "old log", code=old_code, **model.environment) as old,
        started(*arguments, log=tmp_path / "new log", **model.environment) as new,
    ):
        owner, other = (new, old) if owner_is_new else (old, new)
        conversation = await owner.conversation()
        question = await owner.say(conversation, "x")
        stream = await owner.stream(conversation, question)
        call = await model.call()
        await call.send("one ")
        await stream.event()
        joined = await other.stream(conversation, question)
        await joined.opened()
        stream.leave()
        await eventually(lambda: value(url, "SELECT count(*) FROM chat_followers WHERE until > now()") == 1)
        await call.send("two ")
        await call.finish()
        events = await joined.rest()
        assert (text_of(events), events[-1]["type"], model.calls) == ("one two ", "done", 1)


@pytest.mark.release_before
async def test_embedded_database_of_the_release_before_just_works(data_dir: Path, tmp_path: Path) -> None:
    old_code, log = tmp_path / "before", tmp_path / "log"
    release_before.check_out(old_code)
    arguments = ("--data-dir", str(data_dir))
    async with started(*arguments, log=tmp_path / "old log", code=old_code) as server:
        conversation = await server.conversation()
        question = await server.say(conversation, "x")
        await (await server.stream(conversation, question)).rest()
        messages = await server.messages(conversation)
        server.terminate()
        await server.ended()
    async with started(*arguments, log=log) as server:
        assert [message["id"] for message in await server.messages(conversation)] == [each["id"] for each in messages]
        assert await asyncio.to_thread(migrate, tmp_path, *arguments) == f"{UNFINISHED}\n"
        for _ in range(2):
            finished = await asyncio.to_thread(migrate, tmp_path, "--finish", *arguments)
            assert finished == "the database is up to date\n"
        stream = await server.stream(conversation, await server.say(conversation, "y"))
        assert (await stream.rest())[-1]["type"] == "done"
    assert UNFINISHED in log.read_text()
