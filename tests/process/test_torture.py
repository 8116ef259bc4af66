"""scripts/torture: a short run finds nothing, what is broken is found, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kit.process_table import ROOT

TIMEOUT_SECONDS = 400
COMMAND = [sys.executable, "-m", "scripts.torturing"]


def torture(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )


def processes_of(folder: Path) -> list[str]:
    """The command lines that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


# One seed, so that the plan is always the same.
@pytest.mark.serial
@pytest.mark.parametrize("database", ["embedded", "outer"])
def test_short_run_finds_no_violation_and_leaves_nothing(tmp_path: Path, database: str) -> None:
    result = torture(tmp_path, "--seed", "13", "--seconds", "8", "--clients", "6", "--database", database)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout[-20_000:] + result.stderr
    assert "no violations" in result.stdout
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_no_processes(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "--seed", "1", "--seconds", "300"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        while "requests" not in (line := process.stdout.readline()):  # the first line of progress
            assert line, process.stderr.read() if process.stderr else ""
        process.send_signal(number)
        output, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, errors) == (130, "")
    assert "interrupted" in output
    deadline = time.monotonic() + 10
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["--only", "dance"], ["--faults", "partition"], ["--processes", "0"], ["--seconds", "0"]]
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    result = torture(tmp_path, *arguments)
    assert result.returncode == 2
    assert "error: " in result.stderr
