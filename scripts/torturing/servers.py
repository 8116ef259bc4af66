"""The server processes of a run: started, killed, frozen, ended, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from scripts.torturing.database import TortureDatabase
from scripts.torturing.model import Model
from scripts.torturing.options import Options
from scripts.torturing.wire import Connections

READY = "chatserver ready at http://127.0.0.1:"
START_SECONDS = 90.0
STOP_SECONDS = 60.0
RESTARTS, RESTART_SECONDS = 20, 0.5


class ServerError(RuntimeError):
    """A server process did not start, or did not end when it was told to."""


class Server:
    """One of the processes; its number stays the same over restarts, its port and process do not."""

    def __init__(self, number: int, options: Options, database: TortureDatabase, model: Model, folder: Path) -> None:
        self.number = number
        self.name = f"p{number}"
        self.log = folder / f"{self.name}.log"
        self.connections = Connections()
        self.port = 0
        self.up = False
        self.lock = asyncio.Lock()
        """Held by the fault that is at work on it."""
        self._options = options
        self._database = database
        self._model = model
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it accepts requests. Raises ServerError."""
        arguments = ["serve", "--port", "0", *self._database.arguments(self.number)]
        with self.log.open("ab") as log:
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "chatserver", *arguments),
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert process.stdout is not None
        line = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                line = await process.stdout.readline()
        if not line.decode().startswith(READY):
            await self.kill()
            raise ServerError(f"{self.name} did not start; its log ends with: {self.log.read_text()[-2000:]}")
        self.port = int(line.decode().removeprefix(READY))
        self.up = True

    async def start_again(self) -> None:
        """As a service manager does: a start that the database refuses is repeated. Raises ServerError."""
        for left in reversed(range(RESTARTS)):
            try:
                await self.start()
                break
            except ServerError:
                if not left:
                    raise
                await asyncio.sleep(RESTART_SECONDS)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("CHATSERVER_")}
        provider = {
            "kind": "openai",
            "base_url": self._model.base_url(self.number),
            "model": "torture",
            "retries": 0,
        }
        settings = {
            "providers": json.dumps({"main": provider}),
            "default_provider": "main",
            "lease_seconds": self._options.lease_seconds,
            "resume_grace_seconds": self._options.grace_seconds,
            "ping_seconds": 1,
            "drain_seconds": 3,
            "log_format": "json",
        }
        return kept | {f"CHATSERVER_{name.upper()}": str(value) for name, value in settings.items()}

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.up = False
        self.send(signal.SIGKILL)
        if self._process is not None:
            await self._process.communicate()

    async def terminate(self) -> int:
        """SIGTERM; its exit status. Raises ServerError if it does not end."""
        self.up = False
        self.send(signal.SIGTERM)
        if self._process is None:
            return 0
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()
            raise ServerError(f"{self.name} did not end within {STOP_SECONDS:.0f} s of SIGTERM") from None
        await self._process.communicate()
        return self._process.returncode or 0
