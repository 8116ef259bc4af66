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
from scripts.torturing.options import parse
from scripts.torturing.torture import Torture


def main() -> int:
    options = parse()
    print(f"{options.command()}\nleases of {options.lease_seconds:g} s; {options.clients} clients", flush=True)
    raise_open_files()
    folder = Path(tempfile.mkdtemp(prefix="chatserver-torture-"))
    torture = Torture(options, folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    keep = True
    try:
        history = asyncio.run(torture.run())
        print(report.tables(history), flush=True)
        keep = options.keep or bool(history.violations)
        if history.violations:
            print(report.violations(history, torture.logs))
            print(f"\n{len(history.violations)} violations; {report.replay(options)}")
            return 1
        print(f"\nno violations; {report.replay(options)}")
        return 0
    except KeyboardInterrupt:
        print(f"\ninterrupted, {len(torture.history.violations)} violations so far; {report.replay(options)}")
        keep = options.keep
        return 130
    finally:
        if keep:
            shutil.rmtree(folder / "data", ignore_errors=True)
            shutil.rmtree(folder / "outer", ignore_errors=True)
            print(f"the servers' logs are in {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


sys.exit(main())
