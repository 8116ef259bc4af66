"""The command line of `scripts/bench`."""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from scripts.benchmarks import (
    burst,
    carrier,
    commits,
    elsewhere,
    fan_out,
    idle,
    latency,
    leave,
    machine,
    memory,
    paced,
    page,
    publish,
    relay,
    replay,
    rolling,
    slow,
    start,
    takeover,
    turns,
)
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.load import NoLoadError

FIGURES = {
    "start": start,
    "latency": latency,
    "leave": leave,
    "paced": paced,
    "relay": relay,
    "burst": burst,
    "fan-out": fan_out,
    "turns": turns,
    "elsewhere": elsewhere,
    "commits": commits,
    "carrier": carrier,
    "takeover": takeover,
    "rolling": rolling,
    "idle": idle,
    "memory": memory,
    "slow": slow,
    "replay": replay,
    "page": page,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the server beside others.")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"{', '.join(FIGURES)}; default: all of them")
    parser.add_argument("--rounds", type=int, default=5, help="how often each figure is measured (5)")
    parser.add_argument("--quick", action="store_true", help="for a first look: shorter, and with fewer streams")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of all rounds into this file")
    parser.add_argument("--plot", action="store_true", help="write pictures and tables into docs/performance.md")
    options = parser.parse_args()
    if unknown := set(options.figures) - FIGURES.keys():
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    if options.rounds < 1:
        parser.error("at least one round is needed")
    if options.quick and options.plot:
        parser.error("what --quick measures is not for the documentation: --plot needs the whole")
    description = machine.description()
    print(description, flush=True)
    with Bench(options.rounds, quick=options.quick) as bench:
        failed = False
        for name in options.figures or FIGURES:
            try:
                FIGURES[name].measure(bench)
            except NoLoadError as error:
                print(f"\n{name} is left out: {error}", flush=True)
            except Exception:
                # The other figures are not lost.
                print(f"\n{name} failed:", traceback.format_exc(), sep="\n", flush=True)
                failed = True
    bench.report.print_goals()
    if options.json:
        publish.write_json(bench.report, description, options.rounds, options.json)
    if options.plot:
        publish.write_page(bench.report, description)
    sys.exit(failed)


main()
