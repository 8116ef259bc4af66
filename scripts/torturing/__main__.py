"""The command line of `scripts/torture`."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from scripts.benchmarks.machine import raise_open_files
from scripts.torturing import report
from scripts.torturing.options import Options, parse
from scripts.torturing.torture import Torture


def main() -> int:
    options = parse()
    raise_open_files()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its jobs in the background ignore it
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    total = report.Total()
    interrupted = False
    for one in options.each():
        interrupted = not _run(one, total)
        if interrupted:
            break
    if options.seeds > 1:
        print(total.table(), flush=True)
    return 130 if interrupted else int(bool(total.violations))


def _run(options: Options, total: report.Total) -> bool:
    """One run, told and counted; False if it was interrupted."""
    print(f"{options.command()}\nleases of {options.lease_seconds:g} s; {options.clients} clients", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="chatserver-torture-"))
    torture = Torture(options, folder)
    keep = True
    try:
        history = asyncio.run(torture.run())
        total.add(history, options)
        print(report.tables(history), flush=True)
        keep = options.keep or bool(history.violations)
        if history.violations:
            print(report.violations(history, torture.logs))
            print(f"\n{len(history.violations)} violations; {report.replay(options)}", flush=True)
        else:
            print(f"\nno violations; {report.replay(options)}", flush=True)
        return True
    except KeyboardInterrupt:
        print(f"\ninterrupted, {len(torture.history.violations)} violations so far; {report.replay(options)}")
        keep = options.keep
        return False
    finally:
        if keep:
            shutil.rmtree(folder / "data", ignore_errors=True)
            shutil.rmtree(folder / "outer", ignore_errors=True)
            print(f"the servers' logs are in {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


sys.exit(main())
