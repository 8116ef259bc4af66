"""Pictures of a run: bar charts in SVG, readable on a light and on a dark page."""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import escape

from scripts.benchmarks.figures import number
from scripts.benchmarks.report import Bars
from scripts.benchmarks.targets import CHAT

WIDTH, LABEL_WIDTH, VALUE_WIDTH = 720, 210, 80
TOP, BAR, GAP, BOTTOM = 52, 22, 10, 12

STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328; }
    .title { font-weight: 600; }
    .unit { fill: #59636e; }
    .ours { fill: #0969da; }
    .other { fill: #8c959f; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      .unit { fill: #9198a1; }
      .ours { fill: #4493f8; }
      .other { fill: #656c76; }
    }
"""


def file_name(bars: Bars) -> str:
    """The name of the picture's file: words and numbers with hyphens between them."""
    return "-".join(re.findall(r"[a-z0-9]+", bars.name.lower().replace(",", ""))) + ".svg"


def write(bars: Bars, folder: Path) -> Path:
    """Write the picture into the folder and return its path."""
    folder.mkdir(exist_ok=True)
    path = folder / file_name(bars)
    path.write_text(svg(bars), encoding="utf-8")
    return path


def svg(bars: Bars) -> str:
    """One bar for each server, its length in proportion to the value."""
    height = TOP + len(bars.values) * (BAR + GAP) + BOTTOM
    greatest = max(bars.values.values())
    longest = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    title, about = escape(bars.title), escape(f"{bars.unit}; {bars.better}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"  <title>{title}: {about}</title>",
        f"  <style>{STYLE}  </style>",
        f'  <text class="title" x="0" y="16">{title}</text>',
        f'  <text class="unit" x="0" y="36">{about}</text>',
    ]
    for index, (name, value) in enumerate(bars.values.items()):
        top = TOP + index * (BAR + GAP)
        middle = top + BAR / 2 + 4.5
        length = max(1.0, longest * value / greatest)
        kind = "ours" if name == CHAT else "other"
        parts += [
            f'  <text x="{LABEL_WIDTH - 10}" y="{middle}" text-anchor="end">{escape(name)}</text>',
            f'  <rect class="{kind}" x="{LABEL_WIDTH}" y="{top}" width="{length:.1f}" height="{BAR}" rx="3"/>',
            f'  <text x="{LABEL_WIDTH + length + 8:.1f}" y="{middle}">{number(value)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
