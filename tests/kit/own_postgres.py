"""PostgreSQL servers of a test's own, on TCP ports, as an operator runs them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg

from chatserver.storage.postgres import cluster, programs
from tests.kit.waiting import PATIENCE_SECONDS, eventually_blocking

# How long a server manager waits before it starts a server again; systemd's default.
_RESTART_SECONDS = 0.1


def run(program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs, which must end well."""
    result = subprocess.run(
        [*programs.command(program), *arguments], capture_output=True, env=programs.environment(), check=False
    )
    assert result.returncode == 0, result.stderr.decode()


def create(data: Path, settings: Mapping[str, str], *options: str) -> None:
    """Create a cluster that listens on loopback. `settings` are for its postgresql.conf, `options` for initdb."""
    run("initdb", "--pgdata", str(data), "--username", cluster.USER, "--auth=trust", "--encoding=UTF8", "--locale=C",
        "--no-instructions", "--no-sync", *options)  # fmt: skip
    own = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
    with (data / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in {**own, **settings}.items())


def launch(data: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    """Start the server of a cluster; its output goes to the end of `log`."""
    command = [*programs.command("postgres", ends_with_parent=True), "-D", str(data), "-p", str(port)]
    with log.open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=programs.environment())


def url_of(port: int) -> str:
    return f"postgresql://{cluster.USER}@127.0.0.1:{port}/postgres"


def answers(url: str) -> bool:
    """Whether a query is answered now."""
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url) as connection:
        connection.execute("SELECT 1")
        return True
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class OwnPostgres:
    """One server, started again whenever it has ended. `log` is its output."""

    def __init__(self, data: Path) -> None:
        self.log = data.with_name("postgres.log")
        self._data = data
        self._port = free_port()
        self.url = url_of(self._port)
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch)

    def start(self) -> None:
        self._watching.start()
        eventually_blocking(lambda: answers(self.url))

    def stop(self) -> None:
        self._ended.set()
        self._watching.join(2 * PATIENCE_SECONDS)

    def _watch(self) -> None:
        # `--pdeathsig` counts the thread that starts it as its parent, so one thread starts and ends it.
        while not self._ended.is_set():
            server = launch(self._data, self._port, self.log)
            while server.poll() is None and not self._ended.wait(_RESTART_SECONDS):
                pass
            if server.poll() is None:
                run("pg_ctl", "stop", "--pgdata", str(self._data), "--mode=immediate")
                server.wait(PATIENCE_SECONDS)
            self._ended.wait(_RESTART_SECONDS)


@contextmanager
def own_postgres(data: Path, settings: Mapping[str, str], *options: str) -> Iterator[OwnPostgres]:
    """A server that runs on a new cluster in `data`; arguments as for `create`."""
    create(data, settings, *options)
    server = OwnPostgres(data)
    try:
        server.start()
        yield server
    finally:
        server.stop()
