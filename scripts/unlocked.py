"""Print the installed packages that no lock file names: `python -I scripts/unlocked.py requirements/*.txt`.

Leaves out pip, which comes with Python's venv, and this package itself.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions
from pathlib import Path


def normalized(name: str) -> str:
    """As PEP 503 compares the names of packages."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    locked = {"pip", "chatserver"}
    for file in sys.argv[1:]:
        locked.update(map(normalized, re.findall(r"^([\w.-]+)==", Path(file).read_text(), re.MULTILINE)))
    installed = {normalized(distribution.name) for distribution in distributions()}
    for name in sorted(installed - locked):
        print(name)


main()
