"""A module imports only from its own floor and from those below it; no modules import each other in a circle; and no
file is long.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "chatserver"

GROUND = frozenset(
    {
        "audit_events",
        "channels",
        "children",
        "credentials",
        "errors",
        "fair_turns",
        "garbage",
        "graphemes",
        "ids",
        "lanes",
        "logs",
        "loop_lag",
        "loop_share",
        "metrics",
        "message_schemas",
        "one_at_a_time",
        "origin",
        "person_names",
        "provider_schemas",
        "rate_limits",
        "role_names",
        "schema_types",
        "schemas",
        "settings",
        "settings_reading",
        "settings_tables",
        "settings_types",
        "sse",
        "systemd",
        "version",
    }
)
TOP = frozenset(
    {
        "__main__",
        "app",
        "cli",
        "commands",
        "databases",
        "doctor",
        "hints",
        "listening",
        "local_model",
        "model_list",
        "quick_provider",
        "server",
        "serving",
    }
)

# The names that the modules of each floor may import. A name means the module or package, and all modules in it.
MAY_IMPORT: dict[str, frozenset[str]] = {
    **dict.fromkeys(GROUND, GROUND),
    "providers": GROUND | {"providers"},
    "storage": GROUND | {"storage"},
    "rendering": GROUND | {"rendering"},
    "live": GROUND | {"live", "providers.base"},
    "services": GROUND | {"services", "live", "providers", "rendering", "storage"},
    "web": GROUND | {"web", "services", "live"},
    **dict.fromkeys(TOP, GROUND | {"providers", "storage", "rendering", "live", "services", "web"} | TOP),
}
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def imported(source: str, module: tuple[str, ...]) -> Iterator[str]:
    """The names of our modules, without `chatserver.`, that `source` imports anywhere, also for type checking only.

    `module` is the path of the module itself, at which relative imports begin. `from a import b` gives `a.b`, whether
    or not `b` is a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(("chatserver", *module)[: -node.level]) if node.level else ""
            parts = [part for part in (base, node.module) if part]
            names = [".".join([*parts, alias.name]) for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("chatserver.") for name in names if name.partition(".")[0] == "chatserver")


def violations(source: str, module: tuple[str, ...]) -> list[str]:
    allowed = MAY_IMPORT[module[0]]
    return [
        name
        for name in imported(source, module)
        if not any(name == permitted or name.startswith(f"{permitted}.") for permitted in allowed)
    ]


@pytest.mark.parametrize("path", [path for path in MODULES if path != "__init__.py"])
def test_module_imports_only_from_its_floor_and_below(path: str) -> None:
    module = Path(path).with_suffix("").parts
    assert module[0] in MAY_IMPORT, f"{path} stands on no floor: name it in GROUND or TOP"
    assert violations((PACKAGE / path).read_text(encoding="utf-8"), module) == []


# --- circles and length -----------------------------------------------------------------------------------

MOST_LINES = 350
# It is as long as the API is large.
WRITTEN_BY_SCRIPT = PACKAGE / "web/page/api-types.d.ts"
FILES = sorted(
    str(path.relative_to(PACKAGE))
    for pattern in ("*.py", "*.js", "*.css", "*.html", "*.ts")
    for path in PACKAGE.rglob(pattern)
    if path != WRITTEN_BY_SCRIPT
)


def circle(imports: Mapping[str, set[str]]) -> list[str] | None:
    """Modules of which each imports the next, and the last imports the first. None: no modules form a circle."""
    finished: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str] | None:
        if module in way:
            return way[way.index(module) :]
        if module in finished:
            return None
        found = next(filter(None, (visit(each, [*way, module]) for each in sorted(imports.get(module, ())))), None)
        finished.add(module)
        return found

    return next(filter(None, (visit(module, []) for module in sorted(imports))), None)


def names_of_modules() -> Mapping[str, tuple[str, ...]]:
    paths = [Path(path).with_suffix("").parts for path in MODULES]
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): parts for parts in paths}


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    modules = names_of_modules()
    imports = {
        name: {
            target
            for imported_name in imported((PACKAGE / Path(*parts)).with_suffix(".py").read_text("utf-8"), parts)
            for target in (imported_name, imported_name.rpartition(".")[0])
            if target in modules and target and target != name
        }
        for name, parts in modules.items()
    }
    assert circle(imports) is None


@pytest.mark.parametrize(
    ("imports", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, None),
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, None),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c"]),
        ({"a": {"a"}}, ["a"]),
    ],
)
def test_circle_is_found(imports: Mapping[str, set[str]], found: list[str] | None) -> None:
    assert circle(imports) == found


@pytest.mark.parametrize("path", FILES)
def test_file_is_not_longer_than_it_may_be(path: str) -> None:
    lines = (PACKAGE / path).read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES, f"{path} has {lines} lines: what does it hold that belongs elsewhere?"


# --- the floors ---------------------------------------------------------------------------------------------


def test_package_itself_imports_nothing_of_ours() -> None:
    assert list(imported((PACKAGE / "__init__.py").read_text(encoding="utf-8"), ("__init__",))) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("live/run", "from chatserver.storage import runs"),
        ("live/run", "from chatserver import storage"),
        ("live/run", "import chatserver.storage.runs as r"),
        ("live/run", "from ..storage import runs"),
        ("live/run", "from chatserver.providers.echo import EchoProvider"),
        ("live/run", "from chatserver.providers import base, echo"),
        ("live/run", "if TYPE_CHECKING:\n    from chatserver.services.conversations import ConversationService"),
        ("live/run", "def f():\n    import chatserver.web"),
        ("web/handlers/answer_stream", "from chatserver.storage.postgres.database import Database"),
        ("web/handlers/answer_stream", "from chatserver.settings_other import x"),
        ("storage/runs", "from chatserver.live.store import RunStore"),
        ("services/conversations", "from chatserver.web.http.base_handler import Handler"),
        ("services/conversations", "from chatserver.app import App"),
        ("errors", "from chatserver.storage import tables"),
    ],
)
def test_import_from_above_is_found(module: str, source: str) -> None:
    assert violations(source, tuple(module.split("/"))) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "live/run",
            "from chatserver.providers.base import Delta\nfrom . import journal\nfrom .journal import Journal",
        ),
        ("live/run", "from chatserver.providers import base"),
        ("live/run", "from chatserver import errors, sse\nimport tornado.web\nfrom alembic import command"),
        ("services/conversations", "from chatserver.storage import runs\nfrom chatserver.live.run import Run"),
    ],
)
def test_allowed_import_is_not_reported(module: str, source: str) -> None:
    assert violations(source, tuple(module.split("/"))) == []
