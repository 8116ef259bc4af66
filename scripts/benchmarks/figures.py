"""Figures: quantiles, and tables that people read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float], unit: str = "") -> str:
    """The median of the rounds, with the least and the greatest value if there are several."""
    if len(values) == 1:
        return f"{number(values[0])}{unit}"
    return f"{number(median(values))}{unit} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """The value with three significant digits; `?` for NaN."""
    if math.isnan(value):
        return "?"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned for the terminal. The first column is text, the others are figures."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with its title."""
    print(f"\n{title}\n\n{markdown(header, rows)}", flush=True)
