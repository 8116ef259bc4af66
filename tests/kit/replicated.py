"""A PostgreSQL with a standby, as an operator runs it for failover: two servers of their own on TCP ports."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from chatserver.storage.postgres import cluster, programs
from tests.kit.waiting import PATIENCE_SECONDS, eventually_blocking

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "hot_standby": "on",
    "fsync": "off",
    "max_connections": "100",
    "wal_receiver_status_interval": "1",
}
# What the primary acknowledges, the standby has.
_SYNCHRONOUS = {"synchronous_standby_names": "*", "synchronous_commit": "remote_write"}


class Replicated:
    """`url` names both servers; whoever connects gets the one that takes writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = (_free_port(), _free_port())
        self._servers: list[subprocess.Popen[bytes]] = []
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        self.url = f"postgresql://{cluster.USER}@{hosts}/postgres?target_session_attrs=read-write"

    def start(self) -> None:
        primary, standby = self._folder / "primary", self._folder / "standby"
        _run("initdb", "--pgdata", str(primary), "--username", cluster.USER, "--auth=trust", "--encoding=UTF8",
             "--locale=C", "--no-instructions", "--no-sync")  # fmt: skip
        with (primary / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in _SETTINGS.items())
        self._launch(primary, self._ports[0])
        _run("pg_basebackup", "--host=127.0.0.1", f"--port={self._ports[0]}", f"--username={cluster.USER}",
             "--pgdata", str(standby), "--write-recovery-conf", "--checkpoint=fast", "--no-sync")  # fmt: skip
        self._launch(standby, self._ports[1])
        with psycopg.connect(self._address(0), autocommit=True) as connection:
            for name, value in _SYNCHRONOUS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")
            streaming = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            eventually_blocking(lambda: connection.execute(streaming).fetchone() == (1,))

    def lose_primary(self) -> None:
        """Kill the primary, as a machine that fails does."""
        primary = self._servers[0]
        _run("pg_ctl", "stop", "--pgdata", str(self._folder / "primary"), "--mode=immediate")
        primary.wait(PATIENCE_SECONDS)

    def promote(self) -> None:
        """Have the standby take writes; it waits for no standby of its own then."""
        with psycopg.connect(self._address(1), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            connection.execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        for server in self._servers:
            server.kill()
            server.wait(PATIENCE_SECONDS)

    def _address(self, number: int) -> str:
        return f"postgresql://{cluster.USER}@127.0.0.1:{self._ports[number]}/postgres"

    def _launch(self, data: Path, port: int) -> None:
        command = [*programs.command("postgres", ends_with_parent=True), "-D", str(data), "-p", str(port)]
        with (self._folder / "postgres.log").open("ab") as log:
            self._servers.append(subprocess.Popen(command, stdout=log, stderr=log, env=programs.environment()))
        eventually_blocking(lambda: _accepts(self._address(len(self._servers) - 1)))


@contextmanager
def replicated() -> Iterator[Replicated]:
    """A primary and a standby that is up to date."""
    folder = Path(tempfile.mkdtemp(prefix="chatserver-replicated-"))
    made = Replicated(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _run(program: str, *arguments: str) -> None:
    result = subprocess.run(
        [*programs.command(program), *arguments], capture_output=True, env=programs.environment(), check=False
    )
    assert result.returncode == 0, result.stderr.decode()


def _accepts(url: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(url).close()
        return True
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
