"""Server processes: started, waited for, and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.machine import SERVER_CORE, on_core, processes_in

READY_SECONDS = 120.0
STOP_SECONDS = 60.0
# A chatserver on a free port; what it keeps its database in follows.
COMMAND = (sys.executable, "-m", "chatserver", "serve", "--port", "0")

_READY = re.compile(rb"ready at http://127\.0\.0\.1:(\d+)\n")


class NotReadyError(RuntimeError):
    """A server did not say that it is ready; the message holds what it said instead."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that accepts requests on `port`; `data_dir` holds its database, if it has one."""

    name: str
    port: int
    pid: int
    data_dir: Path | None = None

    @property
    def database_dir(self) -> Path | None:
        """The folder in which its database's processes run."""
        return None if self.data_dir is None else (self.data_dir / "postgres" / "data").resolve()

    def database_pids(self) -> list[int]:
        """The ids of its database's processes."""
        return [] if self.database_dir is None else processes_in(self.database_dir)


@contextlib.contextmanager
def start(
    name: str,
    command: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    core: int | None = SERVER_CORE,
    data_dir: Path | None = None,
) -> Iterator[Server]:
    """Start a process and wait until it prints `… ready at http://127.0.0.1:PORT`. Its log goes to a file in `folder`.

    Raises NotReadyError if it does not get ready, and subprocess.TimeoutExpired if SIGTERM does not end it.
    """
    log = folder / f"{name}.log"
    with on_core(core), log.open("ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment)
    try:
        yield Server(name, _wait_until_ready(process, log), process.pid, data_dir)
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
    finally:
        process.kill()
        process.communicate()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> int:
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    deadline = time.monotonic() + READY_SECONDS
    said = b""
    while (left := deadline - time.monotonic()) > 0 and select.select([descriptor], [], [], left)[0]:
        piece = os.read(descriptor, 4096)
        said += piece
        if match := _READY.search(said):
            return int(match[1])
        if not piece:
            break
    raise NotReadyError(f"{process.args!r} did not get ready: {log.read_text(errors='replace')[-2000:]}")


@contextlib.contextmanager
def chatserver(
    data_dir: Path, *, core: int | None = SERVER_CORE, providers: Mapping[str, object] | None = None, **settings: object
) -> Iterator[Server]:
    """The server with its embedded database in `data_dir`; `settings` as in the configuration file.

    The other settings have their defaults, whatever the environment says. The log goes to a file, as JSON.
    """
    command = [*COMMAND, "--data-dir", str(data_dir)]
    told = environment(providers, settings)
    with start("chatserver", command, data_dir.parent, environment=told, core=core, data_dir=data_dir) as server:
        yield server


def environment(providers: Mapping[str, object] | None, settings: Mapping[str, object]) -> dict[str, str]:
    """The environment of a chatserver with these settings. Others have their defaults, whatever ours says."""
    told = {name: value for name, value in os.environ.items() if not name.upper().startswith("CHATSERVER_")}
    told |= {f"CHATSERVER_{name.upper()}": str(value) for name, value in settings.items()}
    if providers:
        told["CHATSERVER_PROVIDERS"] = json.dumps(providers)
    return told
