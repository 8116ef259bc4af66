"""A PostgreSQL with a standby, as an operator runs it for failover: two servers of their own on TCP ports."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from chatserver.storage.postgres import cluster
from tests.kit.own_postgres import answers, create, free_port, launch, run, url_of
from tests.kit.waiting import PATIENCE_SECONDS, eventually_blocking

_SETTINGS = {
    "hot_standby": "on",
    "max_connections": "100",
    "wal_receiver_status_interval": "1",
}
# What the primary acknowledges, the standby has.
_SYNCHRONOUS = {"synchronous_standby_names": "*", "synchronous_commit": "remote_write"}


class Replicated:
    """`url` names both servers; whoever connects gets the one that takes writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = (free_port(), free_port())
        self._servers: list[subprocess.Popen[bytes]] = []
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        self.url = f"postgresql://{cluster.USER}@{hosts}/postgres?target_session_attrs=read-write"

    def start(self) -> None:
        primary, standby = self._folder / "primary", self._folder / "standby"
        create(primary, _SETTINGS)
        self._launch(primary, self._ports[0])
        run("pg_basebackup", "--host=127.0.0.1", f"--port={self._ports[0]}", f"--username={cluster.USER}",
            "--pgdata", str(standby), "--write-recovery-conf", "--checkpoint=fast", "--no-sync")  # fmt: skip
        self._launch(standby, self._ports[1])
        with psycopg.connect(url_of(self._ports[0]), autocommit=True) as connection:
            for name, value in _SYNCHRONOUS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")
            streaming = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            eventually_blocking(lambda: connection.execute(streaming).fetchone() == (1,))

    def lose_primary(self) -> None:
        """Kill the primary, as a machine that fails does."""
        primary = self._servers[0]
        run("pg_ctl", "stop", "--pgdata", str(self._folder / "primary"), "--mode=immediate")
        primary.wait(PATIENCE_SECONDS)

    def promote(self) -> None:
        """Have the standby take writes; it waits for no standby of its own then."""
        with psycopg.connect(url_of(self._ports[1]), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            connection.execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        for server in self._servers:
            server.kill()
            server.wait(PATIENCE_SECONDS)

    def _launch(self, data: Path, port: int) -> None:
        self._servers.append(launch(data, port, self._folder / "postgres.log"))
        eventually_blocking(lambda: answers(url_of(port)))


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
