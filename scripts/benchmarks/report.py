"""What a run found: tables, the goals beside their figures, and the raw figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from scripts.benchmarks.figures import number, print_table, spread

# A cost that does not grow, noise included.
FLAT = 1.2


@dataclass(frozen=True, slots=True)
class Goal:
    """`text` names the figure; its median is to be at most `limit`, or at least, if not `at_most`."""

    text: str
    limit: float
    unit: str = ""
    at_most: bool = True

    @property
    def wanted(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:,g}{self.unit}"

    def verdict(self, value: float) -> str:
        """Whether the value reaches the goal, or by how much it does not."""
        if math.isnan(value):
            return "not measured"
        if value <= self.limit if self.at_most else value >= self.limit:
            return "reached"
        if not value:
            return "missed"
        factor = value / self.limit if self.at_most else self.limit / value
        return f"missed by {factor - 1:.0%}" if factor < 2 else f"missed by a factor of {number(factor)}"


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Bars:
    """A picture: for each server, the medians of one column. `better` says which are good."""

    name: str
    title: str
    unit: str
    better: str
    values: dict[str, float]


@dataclass(slots=True)
class Report:
    """Collects what is printed, and what is written at the end."""

    tables: list[Table] = field(default_factory=list)
    goals: list[tuple[Goal, list[float]]] = field(default_factory=list)
    bars: list[Bars] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table and keep it."""
        self.tables.append(Table(title, header, rows))
        print_table(title, header, rows)

    def goal(self, goal: Goal, values: Sequence[float]) -> None:
        """Hold the median of the rounds against a goal."""
        self.goals.append((goal, list(values)))

    def goal_rows(self) -> list[list[str]]:
        """A row for each goal: what, how much is wanted, how much it is, and whether that is enough."""
        return [
            [goal.text, goal.wanted, spread(values, goal.unit), goal.verdict(median(values))]
            for goal, values in self.goals
        ]

    def print_goals(self) -> None:
        """Print the goals, if there are any."""
        if self.goals:
            self.table("goals: medians of the rounds (least to greatest)", GOAL_HEADER, self.goal_rows())


GOAL_HEADER = ("goal", "wanted", "measured", "")
