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
        assert re.search(rf"def {name}\(", (TESTS / file).read_text()) if name else (TESTS / file).exists(), (file, name)
