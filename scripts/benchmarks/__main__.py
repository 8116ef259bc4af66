"""The command line of `scripts/bench`."""

from __future__ import annotations

import argparse

from scripts.benchmarks import latency, leave, machine, page, start, throughput

FIGURES = {"start": start, "latency": latency, "leave": leave, "throughput": throughput, "page": page}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"{', '.join(FIGURES)}; default: all of them")
    parser.add_argument("--rounds", type=int, default=5, help="how often each figure is measured (5)")
    options = parser.parse_args()
    if unknown := set(options.figures) - FIGURES.keys():
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    if options.rounds < 1:
        parser.error("at least one round is needed")
    print(machine.description(), flush=True)
    for name in options.figures or FIGURES:
        FIGURES[name].measure(options.rounds)


main()
