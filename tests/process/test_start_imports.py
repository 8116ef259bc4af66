"""What a start does not load: it would be ready later for the sake of what it may never need."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.kit.process_table import ROOT
from tests.kit.server_process import started

# Packages and modules; a name stands for what is inside of it, too.
NOT_FOR_A_START = {
    "alembic",
    "brotli",
    "mako",  # alembic's
    "markdown_it",  # these five are for the renderer's child
    "nh3",
    "pygments",
    "latex2mathml",
    "chatserver.rendering.markdown",
    "chatserver.web.openapi.document",
    "chatserver.doctor",
    "chatserver.local_model",
    "sqlalchemy.orm",
}
NOT_FOR_HELP = {
    "chatserver.server",
    "chatserver.app",
    "chatserver.schemas",
    "asyncio",
    "tornado",
    "sqlalchemy",
    "psycopg",
}
NOT_BEFORE_THE_DATABASE_STARTS = {
    "chatserver.serving",
    "chatserver.app",
    "chatserver.web",
    "chatserver.services",
    "chatserver.schemas",
    "sqlalchemy",
}
IMPORTED = re.compile(r"^import time: .*\| +(\S+)$", re.MULTILINE)


def of(unwanted: set[str], log: str) -> set[str]:
    """Those of the unwanted modules that Python's own list of imports names."""
    imported = set(IMPORTED.findall(log))
    assert len(imported) > 100
    return {name for name in imported if any(name == each or name.startswith(f"{each}.") for each in unwanted)}


async def test_start_with_a_migrated_database_loads_nothing_that_it_does_not_need(
    database_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    async with started("--database-url", database_url, log=log, PYTHONPROFILEIMPORTTIME="1"):
        assert of(NOT_FOR_A_START, log.read_text(encoding="utf-8")) == set()


def imports_of(*arguments: str) -> str:
    """Python's list of what it imports when it runs with these arguments."""
    command = [sys.executable, "-X", "importtime", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stderr


def test_help_loads_no_server() -> None:
    assert of(NOT_FOR_HELP, imports_of("-m", "chatserver", "--help")) == set()


def test_embedded_database_starts_before_what_serves_is_loaded() -> None:
    assert of(NOT_BEFORE_THE_DATABASE_STARTS, imports_of("-c", "import chatserver.server")) == set()
