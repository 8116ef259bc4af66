"""The modules of the chat page: which may import which, and the types that they get from the API."""

from __future__ import annotations

import posixpath
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from chatserver.settings import Settings
from chatserver.web.openapi.document import describe
from chatserver.web.routes import ROUTES
from scripts.page_types import TYPES, typescript

SCRIPTS = Path(__file__).resolve().parents[2] / "chatserver" / "web" / "page" / "static" / "js"
MODULES = sorted(path.relative_to(SCRIPTS).as_posix() for path in SCRIPTS.rglob("*.js"))

# For each folder: the other folders whose modules it may import. "." holds main.js.
MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "languages": set(),
    "server": {"base"},
    "ui": {"base", "server"},
    "stream": {"base", "server"},
    "company": {"base", "server"},
    "account": {"base", "server", "ui"},
    "attention": {"base", "server"},
    "message": {"base", "server", "ui"},
    "help": {"base", "server", "ui"},
    "agents": {"base", "server", "ui", "stream", "company", "message"},
    "settings": {"base", "ui"},
    "commands": {"base", "server", "ui"},
    "lists": {"base", "server", "ui"},
    "thread": {"base", "server", "ui", "message"},
    ".": {"base", "server", "ui", "company", "attention", "agents", "commands", "lists", "thread", "account"},
}
# Modules that are imported by a call when they are needed first.
MAY_IMPORT_LATER: dict[str, set[str]] = {
    "account": {"account"},
    "agents": {"agents", "stream"},
    "lists": {"lists"},
    "message": {"message"},
    "thread": {"message", "stream"},
    "commands": {"commands", "settings"},
    ".": {"agents", "lists"},
}
STATIC_IMPORT = re.compile(r'^import [^;]*?"(\.[^"]+)";', re.MULTILINE)
IMPORT_CALL = re.compile(r'\bimport\("(\.[^"]+)"\)')


def imported(module: str, statement: re.Pattern[str]) -> set[str]:
    """The modules that `module` imports by a statement of this form."""
    source = (SCRIPTS / module).read_text(encoding="utf-8")
    folder = posixpath.dirname(module)
    return {posixpath.normpath(posixpath.join(folder, path)) for path in statement.findall(source)}


def folder_of(module: str) -> str:
    return posixpath.dirname(module) or "."


@pytest.mark.parametrize("module", MODULES)
def test_page_module_imports_only_folders_below_its_own(module: str) -> None:
    folder = folder_of(module)
    assert {folder_of(name) for name in imported(module, STATIC_IMPORT)} <= MAY_IMPORT[folder] | {folder}
    assert {folder_of(name) for name in imported(module, IMPORT_CALL)} <= MAY_IMPORT_LATER.get(folder, set())


def test_page_modules_exist_and_have_no_import_circle() -> None:
    graph = {module: imported(module, STATIC_IMPORT) | imported(module, IMPORT_CALL) for module in MODULES}
    assert set(TopologicalSorter(graph).static_order()) == set(MODULES)


def test_page_types_are_those_of_the_openapi_document() -> None:
    written = TYPES.read_text(encoding="utf-8")
    assert written == typescript(describe(ROUTES, Settings(), "0")), "run: python -m scripts.page_types"
