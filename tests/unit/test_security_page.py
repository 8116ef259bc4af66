"""docs/security.md names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
NAMED = re.findall(r"`((?:unit|web|storage|process|browser)/test_\w+\.py)(?:::(test_\w+))?`", PAGE)


def test_every_test_that_the_page_names_is_there() -> None:
    assert len(NAMED) > 20
    for file, name in NAMED:
        path = TESTS / file
        assert path.exists(), file
        assert not name or f"def {name}(" in path.read_text(), (file, name)
