"""A server whose PostgreSQL is set up unlike ours, and whose environment speaks of other databases."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.kit.event_stream import text_of
from tests.kit.http_client import stream_path
from tests.kit.server_process import ServerProcess, started

# Each of them alone, given to libpq or to one of PostgreSQL's programs, leads away from the embedded database.
VARIABLES = {
    "PGHOST": "db.invalid",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGDATABASE": "other",
    "PGUSER": "other",
    "PGPASSWORD": "hunter2",
    "PGPASSFILE": "/nowhere/pgpass",
    "PGSERVICE": "other",
    "PGSERVICEFILE": "/nowhere/pg_service.conf",
    "PGSYSCONFDIR": "/nowhere",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGREQUIREPEER": "other",
    "PGGSSENCMODE": "require",
    "PGSSLMODE": "verify-full",
    "PGSSLNEGOTIATION": "direct",
    "PGSSLROOTCERT": "/nowhere/root.crt",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCHANNELBINDING": "require",
    "PGMINPROTOCOLVERSION": "3.2",
    "PGLOADBALANCEHOSTS": "random",
    "PGOPTIONS": "-c search_path=app -c default_transaction_read_only=on",
    "PGCLIENTENCODING": "LATIN1",
    "PGDATESTYLE": "German",
    "PGTZ": "Asia/Kathmandu",
    "PGDATA": "/nowhere/data",
}


async def talks(server: ServerProcess) -> None:
    """Ask something that is beyond LATIN1, and read it again."""
    conversation = await server.conversation()
    stream = await server.open(stream_path(conversation), method="POST", body={"content": "Grüße, 世界 …"})
    assert text_of(await stream.rest()) == "Echo from agent: Grüße, 世界 …"
    messages = await server.messages(conversation)
    assert [message["content"] for message in messages] == ["Grüße, 世界 …", "Echo from agent: Grüße, 世界 …"]
    assert all(message["createdAt"].endswith("Z") for message in messages)


async def test_variables_of_libpq_do_not_reach_the_embedded_database(tmp_path: Path) -> None:
    for _first_start_and_second in range(2):
        async with started("--data-dir", str(tmp_path / "data"), **VARIABLES) as server:
            await talks(server)
            assert (await server.request("GET", "/readyz")).status == 200
            server.terminate()
            assert await server.ended() == (0, "")


async def test_variables_of_libpq_lead_to_a_database_elsewhere(database_url: str) -> None:
    """The operator's way to say where it is. What the server relies on, it sets itself."""
    url = urlsplit(database_url)
    host = dict(pair.split("=") for pair in url.query.split("&"))["host"].replace("%2F", "/")
    variables = {"PGHOST": host, "PGUSER": str(url.username), "PGDATABASE": url.path[1:]}
    odd = {name: VARIABLES[name] for name in ("PGCLIENTENCODING", "PGDATESTYLE", "PGTZ")}
    async with started("--database-url", "postgresql://", **variables, **odd) as server:
        await talks(server)


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
async def test_odd_settings_of_a_database_elsewhere_change_nothing(database_url: str, pooled: bool) -> None:
    name = urlsplit(database_url).path[1:]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for setting, value in (
            ("datestyle", "German"),
            ("client_encoding", "LATIN1"),
            ("timezone", "Asia/Kathmandu"),
            ("default_transaction_isolation", "serializable"),
        ):
            connection.execute(f"ALTER DATABASE {name} SET {setting} TO '{value}'")
    direct = {"CHATSERVER_LISTEN_DATABASE_URL": database_url} if pooled else {}
    async with started("--database-url", database_url, **direct) as server:
        await talks(server)
