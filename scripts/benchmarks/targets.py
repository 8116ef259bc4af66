"""The servers that are compared: chatserver, and peers that send the same events. Each is started when it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psycopg

from chatserver.storage.postgres.embedded import EmbeddedPostgres
from scripts.benchmarks import client, servers
from scripts.benchmarks.client import Connection
from scripts.benchmarks.installing import MissingError, express_peer, nchan_module, python_peers
from scripts.benchmarks.load import Generator, Model
from scripts.benchmarks.machine import SERVER_CORE, on_core
from scripts.benchmarks.servers import NotReadyError, Server

CHAT = "chatserver"
BARE = "bare asyncio on uvloop"
TORNADO = "plain Tornado"
EXPRESS = "Express"
EXPRESS_PG = "Express with pg"
SSE_STARLETTE = "sse-starlette"
FASTAPI = "FastAPI with SQLAlchemy"
RELAY = "relay with the openai SDK"
NCHAN = "nginx with nchan"

# The tables of the peers that store messages. As in chatserver, messages have an order, and each moves its conversation
# to the front of the list.
TABLES = """
CREATE TABLE peer_conversations (id text PRIMARY KEY, last_position bigint NOT NULL, updated_at timestamptz NOT NULL);
CREATE INDEX ON peer_conversations (updated_at);
CREATE TABLE peer_messages (
    id uuid PRIMARY KEY, conversation_id text NOT NULL REFERENCES peer_conversations, position bigint NOT NULL,
    role text NOT NULL, content text NOT NULL, created_at timestamptz NOT NULL, UNIQUE (conversation_id, position));
"""
MAKERS = 16


class FanOut(NamedTuple):
    """One answer for many readers: the path of its stream, what starts it, or the model that it comes from.

    `publish`: each event is posted by itself.
    """

    path: str
    start: str | None = None
    model: Model | None = None
    publish: bool = False


class Target(ABC):
    """A server under load."""

    name: str
    server: Server

    @abstractmethod
    def conversations(self, count: int, tokens: int, pace_ms: float) -> list[str]:
        """The paths of so many conversations whose answers have so many tokens, one every `pace_ms`; 0: all at once."""

    @abstractmethod
    def relayed(self, count: int) -> list[str]:
        """The paths of so many conversations that the load's model answers."""

    @abstractmethod
    def fan_out(self, tokens: int, pace_ms: float) -> FanOut:
        """One answer that waits for its start."""

    @abstractmethod
    def idle(self, ping_seconds: float) -> FanOut:
        """An answer in which nothing happens but pings; chatserver's come as its settings say."""


class Chat(Target):
    """chatserver."""

    name = CHAT

    def __init__(self, server: Server) -> None:
        self.server = server
        self._agents: dict[str, str] = {}

    def conversations(self, count: int, tokens: int, pace_ms: float) -> list[str]:  # noqa: ARG002 - the question says it
        # Without a pace the default provider answers: an agent would cost a lookup.
        return self._make(count, echo_provider(pace_ms) if pace_ms else None)

    def relayed(self, count: int) -> list[str]:
        return self._make(count, "model")

    def fan_out(self, tokens: int, pace_ms: float) -> FanOut:
        (path,) = self.relayed(1)

        async def ask() -> str:
            connection = await Connection.open(self.server.port)
            stream, _ = await client.ask(connection, path.rpartition("/")[2], "Tell us all")
            connection.close()
            return stream

        return FanOut(asyncio.run(ask()), model=Model(tokens, pace_ms / 1000))

    def idle(self, ping_seconds: float) -> FanOut:  # noqa: ARG002 - a setting
        return self.fan_out(0, 0)._replace(model=Model(0, stays=True))

    def _make(self, count: int, provider: str | None) -> list[str]:
        return [f"/api/conversations/{each}" for each in asyncio.run(self._make_all(count, provider))]

    async def _make_all(self, count: int, provider: str | None) -> list[str]:
        connections = [await Connection.open(self.server.port) for _ in range(min(count, MAKERS))]
        agent_id = None
        if provider is not None:
            if provider not in self._agents:
                self._agents[provider] = await client.create_agent(connections[0], provider)
            agent_id = self._agents[provider]

        async def make(connection: Connection, how_many: int) -> list[str]:
            return [await client.create_conversation(connection, agent_id) for _ in range(how_many)]

        shares = [count // len(connections) + (each < count % len(connections)) for each in range(len(connections))]
        made = await asyncio.gather(*map(make, connections, shares))
        for connection in connections:
            connection.close()
        return list(itertools.chain.from_iterable(made))


class Peer(Target):
    """A server that takes from the conversation's id what it is to send; peers/__init__.py says how."""

    def __init__(self, name: str, server: Server, *, stores: bool = False) -> None:
        self.name = name
        self.server = server
        self._stores = stores
        self._numbers = itertools.count()

    def conversations(self, count: int, tokens: int, pace_ms: float) -> list[str]:
        if not self._stores:
            return [f"/api/conversations/{tokens}-{pace_ms:.0f}"]
        ids = [f"pg-{tokens}-{pace_ms:.0f}-{self.name.partition(' ')[0]}-{next(self._numbers)}" for _ in range(count)]
        asyncio.run(self._create(ids))
        return [f"/api/conversations/{each}" for each in ids]

    def relayed(self, count: int) -> list[str]:  # noqa: ARG002 - one name is enough
        return ["/api/conversations/relay"]

    def fan_out(self, tokens: int, pace_ms: float) -> FanOut:
        return FanOut("/api/conversations/live/stream", start=f"/publish/{tokens}-{pace_ms:.0f}")

    def idle(self, ping_seconds: float) -> FanOut:
        return FanOut(f"/api/conversations/idle-{ping_seconds * 1000:.0f}/stream")

    async def _create(self, ids: Sequence[str]) -> None:
        connection = await Connection.open(self.server.port)
        for each in ids:
            await connection.post("/api/conversations", {"id": each})
        connection.close()


class Nchan(Peer):
    """nginx with nchan, which only hands on what is posted: one POST for each event."""

    def __init__(self, server: Server) -> None:
        super().__init__(NCHAN, server)

    def fan_out(self, tokens: int, pace_ms: float) -> FanOut:  # noqa: ARG002 - as fast as can be
        return FanOut("/live/stream", start="/live/publish", publish=True)


def question(tokens: int) -> bytes:
    """The body of a POST whose echo has so many tokens. Peers are sent the same."""
    return json.dumps({"role": "user", "content": client.echo_content(tokens)}).encode()


def echo_provider(pace_ms: float) -> str:
    """The name of the echo with that pace."""
    return f"echo-{pace_ms:.0f}"


class Targets:
    """The servers that were asked for so far; `close` stops them all."""

    def __init__(self, generator: Generator, paces_ms: Sequence[float]) -> None:
        self._generator = generator
        self._paces_ms = paces_ms
        self._stack = contextlib.ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="chatserver-bench-")))
        self._running: dict[str, Target | None] = {}
        self._numbers = itertools.count()
        self._database: tuple[str, Path] | None = None

    def close(self) -> None:
        """Stop all servers."""
        self._stack.close()

    def get(self, *names: str) -> list[Target]:
        """These servers, started if they are not running. One that cannot run here is left out, and a line says why."""
        for name in names:
            if name not in self._running:
                self._running[name] = self._start_or_say(name, self._stack)
        return [target for name in names if (target := self._running[name]) is not None]

    @contextlib.contextmanager
    def fresh(self, name: str, **settings: object) -> Iterator[Target | None]:
        """A server of its own for one measurement; None if it cannot run here. `settings` are chatserver's."""
        with contextlib.ExitStack() as stack:
            yield self._start_or_say(name, stack, **settings)

    def _start_or_say(self, name: str, stack: contextlib.ExitStack, **settings: object) -> Target | None:
        try:
            return self._start(name, stack, **settings)
        except (MissingError, NotReadyError) as error:
            if name == CHAT:
                raise
            print(f"\n{name} is left out: {error}", flush=True)
            return None

    def _start(self, name: str, stack: contextlib.ExitStack, **settings: object) -> Target:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        if name == CHAT:
            return Chat(stack.enter_context(self._chat(folder, settings)))
        if name == NCHAN:
            command = [sys.executable, "-m", _module("nchan"), nchan_module(), str(folder)]
            return Nchan(stack.enter_context(servers.start("nchan", command, folder)))
        if name in (EXPRESS, EXPRESS_PG):
            command = ["node", str(express_peer()), self._database_url()]
        elif name in (BARE, TORNADO):
            command = [sys.executable, "-m", _module("bare" if name == BARE else "plain_tornado")]
        else:
            module, *arguments = {
                SSE_STARLETTE: ["sse_starlette_server"],
                FASTAPI: ["fastapi_database", self._database_url()],
                RELAY: ["openai_relay", self._generator.model_url],
            }[name]
            command = [str(python_peers()), "-m", _module(module), *arguments]
        stores = name in (EXPRESS_PG, FASTAPI)
        data_dir = self._database[1] if stores and self._database else None
        environment = {**os.environ, "NODE_ENV": "production"}
        starting = servers.start(name.replace(" ", "-"), command, folder, environment=environment, data_dir=data_dir)
        server = stack.enter_context(starting)
        return Peer(name, server, stores=stores)

    def _chat(self, folder: Path, settings: dict[str, object]) -> contextlib.AbstractContextManager[Server]:
        providers: dict[str, object] = {
            echo_provider(pace_ms): {"kind": "echo", "pace_ms": pace_ms} for pace_ms in (0, *self._paces_ms)
        }
        providers["model"] = {"kind": "openai", "base_url": self._generator.model_url, "model": "stand-in"}
        bounds = {"max_runs": 20_000, "max_streams": 20_000, "resume_grace_seconds": 0}
        return servers.chatserver(
            folder / "data", providers=providers, default_provider=echo_provider(0), **bounds, **settings
        )

    def _database_url(self) -> str:
        """The URL of the database that the peers share."""
        if self._database is None:
            data_dir = self._folder / "peers"
            database = EmbeddedPostgres(data_dir)
            with on_core(SERVER_CORE):
                url = database.start()
            self._stack.callback(database.stop)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(TABLES)
            self._database = (url, data_dir)
        return self._database[0]


def _module(name: str) -> str:
    return f"scripts.benchmarks.peers.{name}"
