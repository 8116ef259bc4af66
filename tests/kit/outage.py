"""A database that is away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from tests.kit.process_table import children, postmasters


@contextmanager
def refusing(postgres_url: str, database_url: str) -> Iterator[None]:
    """The database takes no connections, and has cut those that there were."""
    name = urlsplit(database_url).path[1:]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@contextmanager
def frozen(data_dir: Path) -> Iterator[None]:
    """The embedded database hangs, as on a disk that does."""
    processes = postmasters(data_dir)
    processes += [child for parent in processes for child in children(parent)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
