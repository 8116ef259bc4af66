"""The release before this one, from the history of the repository, for tests in which both run side by side."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path

from tests.kit.process_table import ROOT

COMMIT = "72a2acb9890317f00859d173102e010154d4d432"
REVISION = "0008"
"""Its schema."""

# Whoever owns the checkout: only its objects are read.
_GIT = ("git", "-c", f"safe.directory={ROOT}")


@cache
def lacks() -> str | None:
    """Why it cannot be had here, or None."""
    if shutil.which("git") is None:
        return "git not found"
    found = subprocess.run([*_GIT, "cat-file", "-e", f"{COMMIT}^{{tree}}"], cwd=ROOT, capture_output=True, check=False)
    return None if found.returncode == 0 else f"the history has no commit {COMMIT[:7]}"


def check_out(folder: Path) -> None:
    """Put what its servers need into a folder."""
    archive = subprocess.run(
        [*_GIT, "archive", COMMIT, "chatserver", "alembic"], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
