"""What a run leaves behind: raw figures as JSON, and pictures and tables in the documentation."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from scripts.benchmarks import plot
from scripts.benchmarks.figures import markdown
from scripts.benchmarks.report import Report

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- measured: written by scripts/bench --plot -->", "<!-- end of what was measured -->"


def write_json(report: Report, machine: str, rounds: int, path: Path) -> None:
    """Write all figures of all rounds."""
    goals = [
        {"goal": goal.text, "limit": goal.limit, "at_most": goal.at_most, "rounds": values}
        for goal, values in report.goals
    ]
    content = {"machine": machine, "rounds": rounds, "figures": report.raw, "goals": goals}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_page(report: Report, machine: str, page: Path = PAGE) -> None:
    """Write the pictures beside the page, and replace what stands between the two marks in it."""
    folder = page.with_suffix("")
    pictures = [plot.write(bars, folder) for bars in report.bars]
    lines = [f"Measured on {datetime.now(UTC):%Y-%m-%d}: {machine}."]
    lines += [f"![{bars.title}]({folder.name}/{path.name})" for bars, path in zip(report.bars, pictures, strict=True)]
    lines += [
        f"{table.title[0].upper()}{table.title[1:]}:\n\n{markdown(table.header, table.rows)}" for table in report.tables
    ]
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text("\n\n".join([before + BEGIN, *lines, END + after]), encoding="utf-8")
