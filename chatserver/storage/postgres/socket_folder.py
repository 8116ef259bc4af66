"""The folder of an embedded PostgreSQL's socket, and the URL that leads there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

from chatserver.storage.postgres.cluster import USER
from chatserver.storage.postgres.supervisor import PORT, SOCKET_NAME, make_private

DATABASE = "postgres"
# A socket's path has at most 107 bytes on Linux (`sun_path`, unix(7)), 103 on macOS.
MAX_SOCKET_DIR_BYTES = 103 - len(f"/{SOCKET_NAME}")


def url_of(folder: Path) -> str:
    # The schema of the tables: this database is ours, so nobody else chooses it.
    return f"postgresql://{USER}@/{DATABASE}?host={quote(str(folder))}&port={PORT}&options=-csearch_path%3Dpublic"


def socket_folder(folder: Path) -> Path:
    """The folder of the server's socket, created if necessary: `folder`, or a private one with a shorter name.

    A recorded folder that is gone is made again under its name: a cleaner of temporary files took it away, and the
    clients of a running server know no other address.
    """
    name = str(folder)
    # libpq takes a comma in a host as a separator.
    if len(os.fsencode(name)) <= MAX_SOCKET_DIR_BYTES and name.isprintable() and "," not in name:
        return folder
    record = folder / "socket"
    with contextlib.suppress(FileNotFoundError, ValueError):
        recorded = record.read_text(encoding="utf-8")
        if recorded and make_private(recorded):
            return Path(recorded)
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > MAX_SOCKET_DIR_BYTES - len("/chatserver-12345678"):
        base = "/tmp"  # noqa: S108 (mkdtemp makes it private)
    made = tempfile.mkdtemp(prefix="chatserver-", dir=base)
    record.write_text(made, encoding="utf-8")
    return Path(made)
