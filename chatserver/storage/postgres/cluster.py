"""Creating the database cluster of an embedded PostgreSQL: the files that its server works on."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import IO

from chatserver.errors import ConfigurationError
from chatserver.storage.postgres import programs

# The role that owns the cluster; the server's users connect as it.
USER = "chatserver"

# Written into `postgresql.conf` once. From then on the file is the operator's.
TUNABLE_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "jit": "off",  # the queries are short: compiling them costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}

INITDB_SECONDS = 300.0

# The whole `pg_hba.conf`: no line lets anybody in over a network, whatever `listen_addresses` says. The socket is in a
# folder that only its owner may enter. The second line is for pg_basebackup.
ACCESS_RULES = """\
# Written by chatserver at each start.
local all all trust
local replication all trust
"""


def exists(folder: Path) -> bool:
    return (folder / "data" / "PG_VERSION").exists()


def create(folder: Path, gate: IO[bytes]) -> None:
    """Create the cluster `data` in `folder`: under another name, which is changed when it is complete and on the disk.

    initdb inherits `gate`, a locked file: if this process is killed, no other begins before initdb has ended, too.
    Raises ConfigurationError.
    """
    unfinished = folder / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [*programs.command("initdb"), "--pgdata", str(unfinished), "--username", USER]
    command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    command += ["--builtin-locale=C.UTF-8", "--no-instructions"]
    command += [f"--set={name}={value}" for name, value in TUNABLE_SETTINGS.items()]
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=programs.environment(),
            pass_fds=[gate.fileno()],
            timeout=INITDB_SECONDS,
            check=False,
        )
        if result.returncode != 0:
            raise ConfigurationError(f"cannot make a database in {folder}: {programs.reason(result.stdout)}")
        unfinished.rename(folder / "data")
        _sync(folder)
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(f"cannot make a database in {folder}: not done in {INITDB_SECONDS:.0f} s") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_access_rules(folder: Path) -> None:
    """Make `pg_hba.conf` what it has to be, also in a cluster that an earlier version created. Raises OSError."""
    path = folder / "data" / "pg_hba.conf"
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == ACCESS_RULES.encode():
            return
    unfinished = path.with_suffix(".new")
    unfinished.write_text(ACCESS_RULES, encoding="utf-8")
    unfinished.chmod(0o600)
    unfinished.replace(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
