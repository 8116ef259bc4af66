"""The environment variables that libpq reads."""

from __future__ import annotations

import os

from psycopg.pq import Conninfo

# libpq reads these, too, and lists them nowhere.
UNLISTED_VARIABLES = (
    "PGSERVICEFILE",
    "PGSYSCONFDIR",
    "PGLOCALEDIR",
    "PGDATESTYLE",
    "PGTZ",
    "PGGEQO",
    "PGREQUIRESSL",
    "PGREALM",
)


def forget_variables() -> None:
    """Take all variables that libpq reads out of the environment of this process.

    They say where other databases are, and how to reach them: `PGHOSTADDR`, `PGSERVICE` or `PGREQUIREAUTH` would lead
    away from the embedded one. Not all of them have a parameter that could win over them.
    """
    listed = [option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar is not None]
    for name in (*listed, *UNLISTED_VARIABLES):
        os.environ.pop(name, None)
