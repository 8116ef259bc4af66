"""PgBouncer in front of a PostgreSQL, as an operator runs it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from tests.kit.waiting import PATIENCE_SECONDS, eventually_blocking

_CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {pool_size}
server_round_robin = {round_robin}
max_client_conn = 200
logfile = {folder}/pgbouncer.log
"""


@contextmanager
def pgbouncer(
    url: str, port: int, *, mode: str = "transaction", pool_size: int = 20, round_robin: bool = False
) -> Iterator[str]:
    """The URL of the pooler. `url` names the database and its user, `port` is where its server is reached by TCP."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        own_port = int(probe.getsockname()[1])
    folder = Path(tempfile.mkdtemp(prefix="chatserver-pgbouncer-"))
    parts = urlsplit(url)
    with psycopg.connect(url) as connection:
        user = connection.info.user
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        _CONFIGURATION.format(
            port=port,
            user=user,
            own_port=own_port,
            mode=mode,
            pool_size=pool_size,
            round_robin=int(round_robin),
            folder=folder,
        )
    )
    command = ["pgbouncer", str(configuration)]
    if os.geteuid() == 0:  # it does not run as root
        command[1:1] = ["--user", "nobody"]
        shutil.chown(folder, pwd.getpwnam("nobody").pw_uid)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually_blocking(lambda: _accepts(own_port))
        yield f"postgresql://{user}@127.0.0.1:{own_port}{parts.path}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        shutil.rmtree(folder)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
