"""The commands beside `serve`, as an operator runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60

Chatserver = Callable[..., str]
"""Runs a command that must end well and be silent on standard error; returns what it printed."""


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHATSERVER_")}
    return {**clean, "PYTHONPATH": str(ROOT), **more}


def run(folder: Path, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, whatever becomes of it."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "chatserver", *argv],
        cwd=folder,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
