"""The machine: which core runs what, the CPU time of processes, and the event loop of the load."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import resource
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

# No figure takes longer; a measurement that hangs is cancelled.
LONGEST_SECONDS = 1800.0
# A measured process has a core to itself. If it waits for the core more than this share of the time, other work runs
# there.
DISTURBED = 0.02
# Between two measurements: until the processes use less than this share of their core.
QUIET = 0.05
SETTLE_SECONDS, SETTLE_STEP_SECONDS = 10.0, 0.05


def _cores() -> tuple[int | None, int | None]:
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


# Servers and their databases run on one core, the load and the model on another; None: the kernel chooses.
SERVER_CORE, LOAD_CORE = _cores()


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Run this thread, and the processes that it starts meanwhile, on that core; None changes nothing."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run(work: Coroutine[Any, Any, T], *, shared: bool = False) -> T:
    """Run `work` on the load's core and return its result. Raises TimeoutError after LONGEST_SECONDS.

    `shared`: many servers run on all cores, and the load beside them on any.
    """

    async def bounded() -> T:
        async with asyncio.timeout(LONGEST_SECONDS):
            return await work

    with on_core(None if shared else LOAD_CORE), asyncio.Runner(loop_factory=new_loop) as runner:
        started, waited = time.monotonic(), seconds_without_core(os.getpid())
        result = runner.run(bounded())
        if not shared:
            warn_if_disturbed(seconds_without_core(os.getpid()) - waited, time.monotonic() - started)
    return result


def seconds_without_core(pid: int) -> float:
    """How long the process's main thread had work but no core, in seconds; 0 where the kernel does not tell."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def warn_if_disturbed(waited_seconds: float, seconds: float) -> None:
    """Print a warning if other work took the core away during a measurement."""
    share = waited_seconds / seconds
    if share > DISTURBED:
        print(f"\nnot to be trusted: other work took a core away for {share:.0%} of the time")


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop of the kind that the server uses."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def cpu_seconds(pids: Iterable[int]) -> float:
    """How long the live threads of these processes have run on a core, in seconds; NaN where the kernel does not tell.

    From `/proc/PID/task/*/schedstat`, which counts nanoseconds; `/proc/PID/stat` counts ticks.
    """
    nanoseconds = 0
    for pid in pids:
        tasks = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
        if not tasks and Path(f"/proc/{pid}").exists():  # else it has ended meanwhile
            return float("nan")
        for task in tasks:
            with contextlib.suppress(FileNotFoundError):
                nanoseconds += int(task.read_text().split()[0])
    return nanoseconds / 1e9


def processes_in(folder: Path) -> list[int]:
    """The ids of processes whose current directory is that folder: PostgreSQL's run in their data directory."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == folder.resolve():
                found.append(int(link.parent.name))
    return found


def raise_open_files() -> None:
    """Let this process, and those that it starts, open as many files as the system allows."""
    _, greatest = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (greatest, greatest))


def settle(pids: Sequence[int]) -> None:
    """Wait until these processes hardly use their core any more, SETTLE_SECONDS at most."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        before = cpu_seconds(pids)
        time.sleep(SETTLE_STEP_SECONDS)
        if not cpu_seconds(pids) - before > QUIET * SETTLE_STEP_SECONDS:
            return


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
