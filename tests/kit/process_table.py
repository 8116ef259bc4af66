"""The processes of this machine: find, kill and wait for them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

from tests.kit.waiting import PATIENCE_SECONDS, eventually

ROOT = Path(__file__).resolve().parents[2]


def server_processes(data_dir: Path) -> list[int]:
    """All processes of the embedded server: they work in its folder."""
    data = data_dir.resolve() / "postgres" / "data"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == data:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def programs_with_argument(argument: str) -> list[int]:
    """Those that were started with it, without a child of one that is about to start another program."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if argument.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append((int(entry.name), parent(int(entry.name))))
            except OSError:
                continue
    return [pid for pid, parent_pid in found if parent_pid not in dict(found)]


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def postmasters(folder: Path) -> list[int]:
    """The PostgreSQL servers that run on a data directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if command[0].endswith(b"postgres") and any(os.fsencode(folder) in word for word in command[1:]):
                found.append(int(entry.name))
    return found


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


async def gone(folder: Path) -> None:
    """Wait until no PostgreSQL server runs on a data directory."""
    await eventually(lambda: not postmasters(folder), within_seconds=3 * PATIENCE_SECONDS)


def wait_for_end(*pids: int, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until none of the processes runs; they need not be children of this process."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([descriptor], [], [], seconds)[0], f"process {pid} still runs after {seconds} s"
        finally:
            os.close(descriptor)


def kill(*pids: int, number: signal.Signals = signal.SIGKILL) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # such as a server's helper, which ends with the server
            os.kill(pid, number)
