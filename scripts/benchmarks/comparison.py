"""One figure of several servers in turn (A B C … A B C …), and the ratios within each round."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from scripts.benchmarks import machine
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.figures import spread
from scripts.benchmarks.load import LoadError
from scripts.benchmarks.report import Bars, Goal
from scripts.benchmarks.targets import CHAT, Target

Figures = dict[str, float]
"""The heading of a column, and the figure in it."""


@dataclass(frozen=True, slots=True)
class RatioGoal:
    """chatserver's figure in `column`, divided by that of the server `against`: at most `limit`, or at least."""

    column: str
    against: str
    limit: float
    at_most: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """A table. `name` is short; `take` measures one server once.

    `compared`: the columns whose ratio to chatserver's is shown, each with a short name. A picture shows the first.
    """

    name: str
    title: str
    take: Callable[[Target], Figures]
    compared: dict[str, str]
    goals: Sequence[RatioGoal] = field(default=())
    more_is_better: bool = False


def compare(bench: Bench, comparison: Comparison, *names: str) -> dict[str, list[Figures]]:
    """Measure these servers in `bench.rounds` rounds, report the figures, and return them by the server's name."""
    targets = bench.targets.get(*names)
    results: dict[str, list[Figures]] = {target.name: [] for target in targets}
    for _ in range(bench.rounds):
        for target in [each for each in targets if each.name in results]:
            machine.settle([target.server.pid])
            try:
                results[target.name].append(comparison.take(target))
            except LoadError as error:
                if target.name == CHAT:
                    raise
                del results[target.name]
                print(f"\n{target.name} is left out: {error}", flush=True)
    _report(bench, comparison, results)
    return results


def ratios(results: dict[str, list[Figures]], column: str, against: str) -> list[float]:
    """chatserver's figure divided by the other server's, in each round."""
    pairs = zip(results[CHAT], results[against], strict=True)
    return [ours[column] / theirs[column] if theirs[column] else math.nan for ours, theirs in pairs]


def _report(bench: Bench, comparison: Comparison, results: dict[str, list[Figures]]) -> None:
    bench.report.raw[comparison.name] = results
    columns = list(results[CHAT][0])
    compared = comparison.compared if len(results) > 1 else {}
    rows = []
    for name, rounds in results.items():
        cells = [spread([figures[column] for figures in rounds]) for column in columns]
        rows.append([name, *cells, *("" if name == CHAT else spread(ratios(results, each, name)) for each in compared)])
    header = ["server", *columns, *(f"{CHAT} / it: {short}" for short in compared.values())]
    bench.report.table(f"{comparison.title}; medians of {bench.rounds} rounds (least to greatest)", header, rows)
    for goal in comparison.goals:
        if goal.against in results:
            text = f"{comparison.name}: {comparison.compared[goal.column]}, {CHAT} / {goal.against}"
            wanted = Goal(text, goal.limit, at_most=goal.at_most)
            bench.report.goal(wanted, ratios(results, goal.column, goal.against))
    if len(results) == 1:
        return
    column = next(iter(comparison.compared))
    better = "more is better" if comparison.more_is_better else "less is better"
    values = {name: median(figures[column] for figures in rounds) for name, rounds in results.items()}
    bench.report.bars.append(Bars(comparison.name, comparison.title, column, better, values))


def per_thousand(seconds: float, count: int) -> float:
    """Milliseconds for each 1,000 of `count`; NaN if there were none."""
    return seconds * 1e6 / count if count else math.nan


def per_one(seconds: float, count: int) -> float:
    """Milliseconds for each of `count`; NaN if there were none."""
    return per_thousand(seconds, count) / 1000
