"""The settings as conf/chatserver.toml and docs/configuration.md show them, compared with the code.

Run as a program, this file writes both anew from the code.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from chatserver.settings import Settings
from chatserver.settings_reading import load_settings, variable_name
from chatserver.settings_tables import CompanySettings, MembershipSettings, ProviderSettings

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE_FILE = ROOT / "conf" / "chatserver.toml"
PAGE = ROOT / "docs" / "configuration.md"

# Units stand in names.
UNITS = {
    "_seconds": "seconds",
    "_ms": "milliseconds",
    "_bytes": "bytes",
    "_chars": "characters",
    "_per_minute": "per minute",
    "_hours": "hours",
    "_days": "days",
    "_connections": "connections",
    "_streams": "streams",
    "_runs": "answers",
    "max_tokens": "tokens",
}
# Defaults that differ between machines.
SPOKEN_DEFAULTS = {"data_dir": "a user data folder"}

EXAMPLE_HEAD = """\
# All settings of chatserver, each with its default, or with an example where there is none.
# docs/configuration.md says more. The file is read when --config names it.

"""
# Settings that are tables themselves, in this order: their model, and how the example file begins one.
TABLES: dict[str, tuple[type[BaseModel], str]] = {
    "providers": (
        ProviderSettings,
        "# Sources of answers: any number of tables, each with its own name; agents name them.\n#[providers.main]\n",
    ),
    "memberships": (
        MembershipSettings,
        "# What the users and groups of a proxy may do: any number of tables.\n#[[memberships]]\n",
    ),
    "companies": (
        CompanySettings,
        "# What is different for one company, by its id.\n#[companies.00000000-0000-4000-8000-000000000001]\n",
    ),
}
# Settings that exclude another one: the example file shows them as a comment.
ALTERNATIVES = {"group"}


def unit(name: str) -> str:
    return next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), "")


def default_of(name: str, field: FieldInfo) -> Any:
    """The default as a TOML value; None if there is none to show."""
    if field.is_required() or name in SPOKEN_DEFAULTS:
        return None
    default = field.get_default(call_default_factory=True)
    if isinstance(default, tuple):
        return [str(item) for item in default]
    if isinstance(default, float) and default.is_integer():
        return int(default)
    return default if default is None or isinstance(default, bool | int | float) else str(default)


def fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    tables = TABLES if model is Settings else ()
    return ((name, field) for name, field in model.model_fields.items() if name not in tables)


# --- conf/chatserver.toml ----------------------------------------------------------------------------------


def example_file() -> str:
    tables = [f"\n{head}\n" + "\n".join(entries(model)) for model, head in TABLES.values()]
    return EXAMPLE_HEAD + "\n".join(entries(Settings)) + "".join(tables)


def entries(model: type[BaseModel]) -> Iterator[str]:
    for name, field in fields(model):
        assert field.description, name
        default = default_of(name, field)
        shown = (field.examples or [None])[0] if default is None else default
        assert shown is not None, f"{name} has neither a default nor an example"
        note = unit(name) if default is not None else ", ".join(filter(None, (unit(name), "an example")))
        mark = "# or: " if name in ALTERNATIVES else "#"
        yield f"# {field.description}" + (f" ({note})" if note else "") + f"\n{mark}{name} = {json.dumps(shown)}\n"


def test_the_example_file_shows_every_setting_with_its_default() -> None:
    assert EXAMPLE_FILE.read_text() == example_file(), "run this file as a program"


def test_the_example_file_is_valid_when_every_setting_is_uncommented(tmp_path: Path) -> None:
    lines = EXAMPLE_FILE.read_text().splitlines()
    bare = [line.removeprefix("#") for line in lines if not line.startswith("# ")]
    config = tmp_path / "chatserver.toml"
    config.write_text("\n".join(bare))
    written = tomllib.loads(config.read_text())
    assert set(written) == set(Settings.model_fields)
    for name, (model, _) in TABLES.items():
        [table] = written[name].values() if isinstance(written[name], dict) else written[name]
        assert set(table) == set(model.model_fields) - ALTERNATIVES

    settings = load_settings(config, {}, {})
    for name, field in fields(Settings):
        if default_of(name, field) is not None:
            assert getattr(settings, name) == getattr(Settings(), name)


# --- docs/configuration.md ---------------------------------------------------------------------------------


def table(model: type[BaseModel], *, variables: bool) -> str:
    head = ["Setting", *(["Variable"] if variables else []), "Default", "Range", "Unit", "Meaning"]
    rows = [head, ["---"] * len(head)]
    for name, field in fields(model):
        variable = [f"`{variable_name(name)}`"] if variables else []
        meaning = (field.description or "").replace("|", "\\|")
        rows.append([f"`{name}`", *variable, shown_default(name, field), shown_range(field), unit(name), meaning])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def shown_default(name: str, field: FieldInfo) -> str:
    default = default_of(name, field)
    if name in SPOKEN_DEFAULTS:
        return SPOKEN_DEFAULTS[name]
    if field.is_required():
        return "(needed)"
    if isinstance(default, list):
        return ", ".join(f"`{item}`" for item in default) or "none"
    return "none" if default is None else f"`{json.dumps(default) if isinstance(default, bool) else default}`"


def shown_range(field: FieldInfo) -> str:
    low = high = ""
    for bound in field.metadata:
        match bound:
            case annotated_types.Gt():
                low = f"above {bound.gt}"
            case annotated_types.Ge():
                low = f"{bound.ge}"
            case annotated_types.Le():
                high = f"to {bound.le}"
    return f"{low} {high}".strip()


def page_with_tables(page: str) -> str:
    for mark, text in (
        ("settings", table(Settings, variables=True)),
        ("provider settings", table(ProviderSettings, variables=False)),
        ("membership settings", table(MembershipSettings, variables=False)),
        ("company settings", table(CompanySettings, variables=False)),
    ):
        start, end = f"<!-- {mark}, from the code -->\n", f"<!-- end of {mark} -->\n"
        before, found, rest = page.partition(start)
        _, closed, after = rest.partition(end)
        assert found, f"the page lacks {start}"
        assert closed, f"the page lacks {end}"
        page = before + start + text + end + after
    return page


def test_configuration_page_matches_the_code() -> None:
    page = PAGE.read_text()
    assert page == page_with_tables(page), "run this file as a program"


if __name__ == "__main__":
    EXAMPLE_FILE.write_text(example_file())
    PAGE.write_text(page_with_tables(PAGE.read_text()))
