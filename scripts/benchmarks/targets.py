"""The servers that `throughput` compares: chatserver, and peers that send the same streams and do nothing else."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from chatserver.storage.postgres.embedded import EmbeddedPostgres
from scripts.benchmarks import client, servers
from scripts.benchmarks.client import Connection
from scripts.benchmarks.machine import SERVER_CORE, on_core
from scripts.benchmarks.model import Model, ModelConnection
from scripts.benchmarks.servers import Server

FLOOR = "bare asyncio"
NPM_SECONDS = 120


class Target(Protocol):
    """A server under load. `only_turns`: its other figures would be those of another target."""

    name: str
    server: Server
    only_turns: bool

    async def conversation(self, connection: Connection, tokens: int, pace_ms: int) -> str:
        """Create a conversation whose answers have so many tokens, `pace_ms` apart; return its id."""

    async def live_conversation(self, connection: Connection) -> str:
        """Create a conversation whose only answer waits for `publish`; return its id."""

    async def publish(self, connection: Connection, tokens: int) -> None:
        """Send the waiting answer, as fast as possible."""


class Chat:
    """chatserver, with an echo without pauses, a paced echo, and the model stand-in."""

    name = "chatserver"
    only_turns = False

    def __init__(self, server: Server, model: Model) -> None:
        self.server = server
        self._model = model
        self._agents: dict[str, str] = {}

    async def conversation(self, connection: Connection, tokens: int, pace_ms: int) -> str:  # noqa: ARG002
        # Without a pace the default provider answers: an agent would cost a lookup.
        agent_id = await self._agent(connection, f"paced-{pace_ms}") if pace_ms else None
        return await client.create_conversation(connection, agent_id)

    async def live_conversation(self, connection: Connection) -> str:
        return await client.create_conversation(connection, await self._agent(connection, "model"))

    async def publish(self, connection: Connection, tokens: int) -> None:  # noqa: ARG002
        waiting: ModelConnection = await self._model.held.get()
        for _ in range(tokens):
            waiting.send_token()
        waiting.send_end()

    async def _agent(self, connection: Connection, provider: str) -> str:
        if provider not in self._agents:
            self._agents[provider] = await client.create_agent(connection, provider)
        return self._agents[provider]


class Peer:
    """A server that takes from the conversation's id what it is to send."""

    def __init__(self, name: str, server: Server, *, prefix: str = "", only_turns: bool = False) -> None:
        self.name = name
        self.server = server
        self.only_turns = only_turns
        self._prefix = prefix

    async def conversation(self, connection: Connection, tokens: int, pace_ms: int) -> str:  # noqa: ARG002
        return f"{self._prefix}{tokens}-{pace_ms}"

    async def live_conversation(self, connection: Connection) -> str:  # noqa: ARG002
        return "live"

    async def publish(self, connection: Connection, tokens: int) -> None:
        await connection.post("/publish", tokens)


@contextlib.contextmanager
def all_targets(folder: Path, model: Model, pace_ms: int) -> Iterator[list[Target]]:
    """The server, and the peers that can run here; Express where npm can install it."""
    providers: dict[str, object] = {
        "fast": {"kind": "echo", "pace_ms": 0},
        f"paced-{pace_ms}": {"kind": "echo", "pace_ms": pace_ms},
        "model": model.provider,
    }
    with contextlib.ExitStack() as stack:
        chat = stack.enter_context(servers.chatserver(folder / "data", providers=providers, default_provider="fast"))
        targets: list[Target] = [Chat(chat, model)]
        for name, module in ((FLOOR, "bare"), ("plain Tornado", "plain_tornado")):
            command = [sys.executable, "-m", f"scripts.benchmarks.peers.{module}"]
            targets.append(Peer(name, stack.enter_context(servers.start(name, command, folder))))
        installed = _install_express(folder)
        if installed is not None:
            express = stack.enter_context(_express(installed, folder / "peer"))
            targets.append(Peer("Express", express))
            targets.append(Peer("Express with pg", express, prefix="pg-", only_turns=True))
        yield targets


def _install_express(folder: Path) -> Path | None:
    """Install the Express peer. Returns the path of its script; None if node or npm is missing, or npm fails."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        print("Express is left out: there is no node or no npm")
        return None
    installed = folder / "express"
    shutil.copytree(Path(__file__).parent / "peers" / "express", installed)
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]
    try:
        subprocess.run(command, cwd=installed, check=True, capture_output=True, timeout=NPM_SECONDS)
    except (subprocess.SubprocessError, OSError):
        print("Express is left out: npm cannot install it")
        return None
    return installed / "server.js"


@contextlib.contextmanager
def _express(script: Path, data_dir: Path) -> Iterator[Server]:
    database = EmbeddedPostgres(data_dir)
    with on_core(SERVER_CORE):
        url = database.start()
    try:
        with servers.start("express", ["node", str(script), url], data_dir.parent, data_dir=data_dir) as server:
            yield server
    finally:
        database.stop()
