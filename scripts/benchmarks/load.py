"""The load generator in load.c: compiled, run on the load's core, and what it measured."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.benchmarks.machine import LOAD_CORE, on_core
from scripts.benchmarks.servers import Server

SOURCE = Path(__file__).with_name("load.c")


class NoLoadError(Exception):
    """The load generator cannot be compiled here: figures that need it are left out."""


class LoadError(RuntimeError):
    """A server did not answer as it should; the message says how."""


@dataclass(frozen=True, slots=True)
class Model:
    """What the generator's own model sends for each request.

    `tokens`, one every `pace_seconds`; 0: as fast as they are taken. `stays`: it does not end after them. The tokens of
    many answers are spread evenly over the pace; `together`: all come at the same instant.
    """

    tokens: int
    pace_seconds: float = 0
    stays: bool = False
    together: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What the generator does; load.c explains it.

    `paths` are taken in turn by the connections. With `body` they are conversations that are asked again and again.
    """

    paths: Sequence[str]
    connections: int
    body: bytes | None = None
    tokens: int = 0
    seconds: float = 2.0
    warm_seconds: float = 0.3
    open_per_second: float = 5_000
    stalled: int = 0
    fan_out: bool = False
    start: str | None = None
    publish: bool = False
    until_tokens: int = 0
    model: Model | None = None


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What happened during the measurement.

    `busy`: the share of the time in which the generator had something to do. If it is near 1, the generator may be what
    limits a rate. `server_seconds` and `database_seconds` are of CPU. `fan_seconds`: until the last token came.
    `…_kib` is resident memory: before the first connection, when the measurement began, and when it ended.
    """

    seconds: float
    turns: int
    tokens: int
    comments: int
    failures: int
    server_seconds: float
    database_seconds: float
    busy: float
    fan_seconds: float
    before_kib: float
    begin_kib: float
    end_kib: float
    post_ms: Quantiles
    first_token_ms: Quantiles
    gap_ms: Quantiles
    delay_ms: Quantiles
    raw: dict[str, Any] = field(repr=False)


class Generator:
    """The compiled generator in `folder`, and the socket on which its model is asked."""

    def __init__(self, folder: Path) -> None:
        """Compile it. Raises NoLoadError if that is not possible."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise NoLoadError("there is no C compiler (cc)")
        self._program = folder / "load"
        compiled = subprocess.run(
            [compiler, "-O2", "-o", str(self._program), str(SOURCE)], capture_output=True, text=True, check=False
        )
        if compiled.returncode:
            raise NoLoadError(f"cc cannot compile {SOURCE.name}; it needs Linux:\n{compiled.stderr[:500]}")
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=8192)
        self._listener.setblocking(False)

    def close(self) -> None:
        """Close the model's socket."""
        self._listener.close()

    @property
    def model_url(self) -> str:
        """The base URL of the model, which answers while a plan with `model` runs."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def run(self, server: Server, plan: Plan, look: Callable[[], object] | None = None) -> Measured:
        """Carry out the plan. Raises LoadError if an answer is not what it should be.

        `look` is called when the measurement begins, and when it ends: all streams are open then.
        """
        with tempfile.TemporaryDirectory(prefix="chatserver-bench-") as folder:
            command = [str(self._program), *_arguments(server, plan, Path(folder))]
            if plan.model is not None:
                command += ["--model", str(self._listener.fileno()), "--model-tokens", str(plan.model.tokens)]
                command += ["--model-pace", str(plan.model.pace_seconds)]
                command += ["--model-stays"] if plan.model.stays else []
                command += ["--model-together"] if plan.model.together else []
            errors = Path(folder) / "errors"
            with (
                on_core(LOAD_CORE),
                errors.open("wb") as stderr,
                subprocess.Popen(
                    [*command, *(["--look"] if look else [])],
                    pass_fds=[self._listener.fileno()],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                ) as process,
            ):
                said = _listen(process, look)
            if process.returncode:
                reason = errors.read_text().strip() or process.returncode
                raise LoadError(f"the load on {server.name} failed: {reason}")
        raw = json.loads(said)
        figures = {name: Quantiles(**value) if isinstance(value, dict) else value for name, value in raw.items()}
        return Measured(**figures, raw=raw)


def _listen(process: subprocess.Popen[bytes], look: Callable[[], object] | None) -> bytes:
    """The last line that the generator prints. Before that it asks for looks."""
    assert process.stdin is not None
    assert process.stdout is not None
    line = b""
    try:
        for line in process.stdout:
            if line == b"look\n" and look is not None:
                look()
                process.stdin.write(b"\n")
                process.stdin.flush()
    except BaseException:
        process.kill()
        raise
    return line


def _arguments(server: Server, plan: Plan, folder: Path) -> list[str]:
    paths = folder / "paths"
    paths.write_text("\n".join(plan.paths))
    options: dict[str, object] = {
        "port": server.port,
        "connections": plan.connections,
        "open": plan.open_per_second,
        "tokens": plan.tokens,
        "stall": plan.stalled,
        "warm": plan.warm_seconds,
        "seconds": plan.seconds,
        "until": plan.until_tokens,
        "server": server.pid,
        "paths": paths,
    }
    if plan.body is not None:
        body = folder / "body"
        body.write_bytes(plan.body)
        options["body"] = body
    if plan.start is not None:
        options["start"] = plan.start
    if server.database_dir is not None:
        options["database"] = server.database_dir
    arguments = [argument for name, value in options.items() for argument in (f"--{name}", str(value))]
    flags = {"--fan": plan.fan_out, "--publish": plan.publish}
    return [*arguments, *(flag for flag, is_set in flags.items() if is_set)]
