"""docs/providers.md agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from pydantic_core import PydanticUndefined

from chatserver.errors import ErrorCode
from chatserver.providers import failures, remote, turns
from chatserver.settings import ProviderSettings

PAGE = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()


def test_documentation_has_each_option_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|[^|]*\|[^|]*\|$", PAGE, re.MULTILINE))
    defaults = {
        name: "(needed)" if field.default is PydanticUndefined else str(field.default or "none")
        for name, field in ProviderSettings.model_fields.items()
    }
    assert rows == defaults


def test_documentation_has_each_error_code_of_a_provider() -> None:
    told = set(re.findall(r"^\| `(\w+)` \| [^|]+ \|$", PAGE, re.MULTILINE))
    assert told == set(get_args(ErrorCode)) - {"internal", "answer_too_long"}


def test_documentation_has_the_figures_of_the_code() -> None:
    assert f"more than {failures.MAX_WAIT_SECONDS:.0f} seconds" in PAGE
    assert turns.OPENING in PAGE
    assert (remote.MAX_LINE_BYTES, remote.MAX_WHOLE_BYTES) == (1024 * 1024, 8 * 1024 * 1024)
