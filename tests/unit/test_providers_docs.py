"""docs/providers.md agrees with the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

from pydantic_core import PydanticUndefined

from chatserver.errors import ErrorCode
from chatserver.providers import attempt, body_decoder, deadlines, failures, pictures, turns
from chatserver.quick_provider import ANTHROPIC_MODEL, OLLAMA_PORT, OPENAI_MODEL, VARIABLES
from chatserver.settings_tables import ProviderSettings
from chatserver.web.page.page_files import HELP, PAGE_FOLDER

PAGE = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()


def shown(default: object) -> str:
    return "none" if default is None else json.dumps(default) if isinstance(default, bool) else str(default)


def test_documentation_has_each_option_with_its_default() -> None:
    options = PAGE[PAGE.index("## Options") :]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|[^|]*\|[^|]*\|$", options, re.MULTILINE))
    defaults = {
        name: "(needed)" if field.default is PydanticUndefined else shown(field.default)
        for name, field in ProviderSettings.model_fields.items()
    }
    assert rows == defaults


def test_documentation_has_each_error_code_of_a_provider() -> None:
    told = set(re.findall(r"^\| `(\w+)` \| [^|]+ \|$", PAGE, re.MULTILINE))
    assert told == set(get_args(ErrorCode)) - {"internal", "answer_too_long"}


def test_documentation_has_the_figures_of_the_code() -> None:
    assert f"more than {failures.MAX_WAIT_SECONDS:.0f} seconds" in PAGE
    assert turns.OPENING in PAGE
    assert f"at most {deadlines.USAGE_SECONDS:.0f} seconds for the token counts" in PAGE
    assert deadlines.LAST_WORD_SECONDS == 0.25
    assert "within a quarter of a second" in PAGE
    assert f"at most {attempt.HOLD_SECONDS * 1000:.0f} ms" in PAGE
    assert pictures.MAX_PICTURE_BYTES == 64 * 1024 * 1024
    assert (body_decoder.MAX_LINE_BYTES, body_decoder.MAX_WHOLE_BYTES) == (1024 * 1024, 8 * 1024 * 1024)


def test_documentation_has_each_quick_provider_with_its_default() -> None:
    rows = {row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)}
    assert VARIABLES.keys() <= rows.keys()
    assert rows["openai"][0] == f"`{VARIABLES['openai']}`"
    assert rows["openai"][2].startswith(f"`{OPENAI_MODEL}`")
    assert rows["anthropic"] == (
        f"`{VARIABLES['anthropic']}`",
        "`ANTHROPIC_BASE_URL`, or Anthropic",
        f"`{ANTHROPIC_MODEL}`",
    )
    assert f"`127.0.0.1:{OLLAMA_PORT}`" in rows["ollama"][1]


def test_help_and_readme_show_each_way_to_connect_a_model() -> None:
    texts = [
        (PAGE_FOLDER / HELP).read_text(encoding="utf-8"),
        (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8"),
    ]
    for text in texts:
        assert "scripts/serve --local-model" in text
    for kind, variable in VARIABLES.items():
        assert f"scripts/serve --provider {kind}" in texts[0]
        assert variable in texts[0]
