"""The machine: which core does what, what processes cost there, and the loop that the load runs on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

# No figure takes longer; whatever hangs is broken off.
LONGEST_SECONDS = 1800.0
# What is measured has a core to itself; when it has to wait for it this share of the time, something else runs there.
DISTURBED = 0.02


def _cores() -> tuple[int | None, int | None]:
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


# Servers and their databases on one core, the load and the model on another; None: wherever the kernel likes.
SERVER_CORE, LOAD_CORE = _cores()


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Have this thread, and the processes that it starts meanwhile, run on that core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, on the load's core."""

    async def bounded() -> T:
        async with asyncio.timeout(LONGEST_SECONDS):
            return await work

    with on_core(LOAD_CORE), asyncio.Runner(loop_factory=new_loop) as runner:
        started, waited = time.monotonic(), seconds_without_core(os.getpid())
        result = runner.run(bounded())
        warn_if_disturbed(seconds_without_core(os.getpid()) - waited, time.monotonic() - started)
    return result


def seconds_without_core(pid: int) -> float:
    """How long that process's main thread has waited for a core although it had work; 0 where the kernel is silent."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def warn_if_disturbed(waited_seconds: float, seconds: float) -> None:
    """Say so if figures were taken while other work went on."""
    share = waited_seconds / seconds
    if share > DISTURBED:
        print(f"\nnot to be trusted: other work went on, and took a core away for {share:.0%} of the time")


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop of the kind that the server takes, too."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def cpu_seconds(pids: Iterable[int]) -> float:
    """How long the live threads of these processes have been on a core; not a number where the kernel does not say.

    From `/proc/PID/task/*/schedstat`, which counts nanoseconds; `/proc/PID/stat` counts ticks.
    """
    nanoseconds = 0
    for pid in pids:
        tasks = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
        if not tasks:
            return float("nan")
        for task in tasks:
            with contextlib.suppress(FileNotFoundError):
                nanoseconds += int(task.read_text().split()[0])
    return nanoseconds / 1e9


def processes_in(folder: Path) -> list[int]:
    """The processes that work in that folder, as those of a database do in theirs."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == folder.resolve():
                found.append(int(link.parent.name))
    return found


def description() -> str:
    """The machine in one line."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({model}), {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load before: {load}"
    )
