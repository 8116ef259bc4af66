"""The folder of an embedded PostgreSQL's socket, and the URL that leads there."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from urllib.parse import quote

from chatserver.storage.postgres.cluster import USER

DATABASE = "postgres"
# A part of the socket's name; no TCP port is opened.
PORT = 5432
# A socket's path has at most 107 bytes on Linux (`sun_path`, unix(7)), 103 on macOS.
MAX_SOCKET_DIR_BYTES = 103 - len(f"/.s.PGSQL.{PORT}")


def url_of(folder: Path) -> str:
    # The schema of the tables: this database is ours, so nobody else chooses it.
    return f"postgresql://{USER}@/{DATABASE}?host={quote(str(folder))}&port={PORT}&options=-csearch_path%3Dpublic"


def socket_folder(folder: Path) -> Path:
    """The folder of the server's socket, created if necessary: `folder`, or a private one with a shorter name."""
    name = str(folder)
    # libpq takes a comma in a host as a separator.
    if len(os.fsencode(name)) <= MAX_SOCKET_DIR_BYTES and name.isprintable() and "," not in name:
        return folder
    record = folder / "socket"
    with contextlib.suppress(FileNotFoundError, ValueError):
        recorded = Path(record.read_text(encoding="utf-8"))
        status = recorded.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077:
            return recorded
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > MAX_SOCKET_DIR_BYTES - len("/chatserver-12345678"):
        base = "/tmp"  # noqa: S108 (mkdtemp makes it private)
    made = tempfile.mkdtemp(prefix="chatserver-", dir=base)
    record.write_text(made, encoding="utf-8")
    return Path(made)
