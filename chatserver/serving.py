"""Serving with a database that is ready. This module loads the whole package, which takes most of a start."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from chatserver import logs, systemd
from chatserver.app import App
from chatserver.errors import ConfigurationError, DatabaseUnavailableError
from chatserver.hints import next_steps
from chatserver.listening import url_of
from chatserver.schemas import CreateAgent, LlmConfig
from chatserver.services.access import local_actor
from chatserver.services.database_watch import DatabaseWatch
from chatserver.services.provider_choice import list_providers
from chatserver.settings import Settings
from chatserver.storage import tokens
from chatserver.storage.postgres.provision import ProvidedDatabase
from chatserver.web.http.server import Server

logger = logging.getLogger(__name__)

# How long streams that are sent away may take to end, after the drain.
FAREWELL_SECONDS = 5.0

LOCAL_AGENT = "Local model"


async def serve(
    settings: Settings,
    database: ProvidedDatabase,
    sockets: Sequence[socket.socket],
    stop: asyncio.Event,
    *,
    local_provider: str | None,
) -> None:
    """Serve on the sockets until `stop`, and end in order.

    `local_provider`: the provider that gets an agent of its own. Raises ConfigurationError.
    """
    async with AsyncExitStack() as stack:
        app = App(settings, database.url, os.environ)
        stack.push_async_callback(app.close)
        if database.embedded is not None:
            watch = DatabaseWatch(database.embedded, app.health)
            watch.start()
            stack.push_async_callback(watch.close)
        if local_provider is not None:
            await _register_agent(app, local_provider)
        server = Server(app.web, settings=settings, metrics=app.metrics)
        stack.push_async_callback(server.close_all_connections)
        app.start()
        if not stop.is_set():
            server.add_sockets(sockets)
            _say_ready(sockets, app)
            telling = asyncio.create_task(_say_who_gets_in(app))  # the database may let it wait
            stack.push_async_callback(_end, telling)
            app.context.page.load()  # so that the first visitor does not wait for it
            await _until(stop)
        await _drain(app, server)


async def _register_agent(app: App, provider: str) -> None:
    """Register an agent for the provider, unless the default company has one."""
    company_id = app.settings.default_company_id
    cursor = None
    try:
        while True:
            page = await app.context.agents.list_agents(local_actor(), company_id, limit=100, cursor=cursor)
            if any(agent.adapter_config.get("provider") == provider for agent in page.items):
                return
            if (cursor := page.next_cursor) is None:
                break
        agent = CreateAgent(name=LOCAL_AGENT, adapter_type="llm", adapter_config=LlmConfig(provider=provider))
        await app.context.agents.create_agent(local_actor(), company_id, agent)
    except DatabaseUnavailableError as error:
        raise ConfigurationError(error.message) from error


def _say_ready(sockets: Sequence[socket.socket], app: App) -> None:
    # Nearly all that a start makes stays, so the collector was off, and need never look at it. About 0.7 MB of it are
    # cycles that nobody needs. To collect them would delay the start by 50 to 90 ms.
    gc.freeze()
    gc.enable()
    logs.release(background=True)
    url = url_of(app.settings, sockets[0])
    print(f"chatserver ready at {url}", flush=True)
    systemd.notify(systemd.READY)
    logs.tell_terminal(next_steps(url, list_providers(app.settings), os.environ))


async def _say_who_gets_in(app: App) -> None:
    """Tell how to make a token if there is none: nobody gets in without."""
    if app.settings.auth != "authenticated":
        return
    with contextlib.suppress(DatabaseUnavailableError):
        if not await app.pulse.autocommit(tokens.are_there):
            logger.warning(
                "nobody can sign in yet: make a token by `chatserver token create --admin --name NAME`, with the same "
                "--config, --data-dir or --database-url as this server"
            )


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def _until(stop: asyncio.Event) -> None:
    """Wait for `stop`; meanwhile show systemd's watchdog that the loop turns."""
    while not await _within(systemd.watchdog_seconds(), stop.wait()):
        systemd.notify(systemd.WATCHDOG)


async def _drain(app: App, server: Server) -> None:
    """Take nothing new, let requests and streams finish, then send the streams away."""
    logger.info("stopping")
    systemd.notify(systemd.STOPPING)
    app.begin_drain()
    server.stop()
    await _within(app.settings.drain_seconds, app.finish_work())
    app.requests.close()
    app.streams.close()
    await _within(FAREWELL_SECONDS, app.streams.wait_empty())


async def _within(seconds: float | None, event: Coroutine[Any, Any, object]) -> bool:
    """Wait for an event; whether it came in time. `seconds` None: wait for ever."""
    try:
        async with asyncio.timeout(seconds):
            await event
    except TimeoutError:
        return False
    return True
