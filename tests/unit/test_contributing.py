"""The pages for developers name files and folders that exist, and leave out no script and no folder of the server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "chatserver"
PAGES = (
    "CONTRIBUTING.md",
    "SECURITY.md",
    "README.md",
    "docs/design.md",
    "docs/page.md",
    "docs/growth.md",
    "docs/scaling.md",
)

LINK = re.compile(r"\]\(([^)#]+)")
URL = re.compile(r"\w+://\S+")
FILE = r"[\w*-]+\.(?:css|html|ini|js|json|md|mako|py|service|sh|socket|toml|ts|txt)\b"
# Folders, and a file or another folder in them; or a file alone. Paths of the API begin with a slash and do not match.
PATH = re.compile(rf"(?<![\w/.*$@-])(?:(?:[\w.*-]+/)+(?:[\w*-]+(?:\.[\w*-]+)*)?|{FILE})")


def named_paths(text: str) -> set[str]:
    """Everything in a page that reads as a path: in its sentences, tables, links, code and drawings.

    Words with a slash between them, as in `and/or`, count only if the first one is a folder of ours.
    """
    text = URL.sub("", text)
    paths = {match[0] for match in PATH.finditer(text)}
    paths = {path for path in paths if is_clearly_a_path(path) or is_there(path.split("/")[0])}
    return paths | set(LINK.findall(text))


def is_clearly_a_path(path: str) -> bool:
    return path.endswith("/") or re.search(rf"(?:^|/){FILE}$", path) is not None


def is_there(path: str, folder: Path = ROOT) -> bool:
    """As seen from the root, from the package (as design.md writes its paths), or from the page's own folder.

    A name alone may be that of a file or folder anywhere in the package.
    """
    if ".." in path:
        return (folder / path).exists()
    name = path.rstrip("/")
    found = [each for start in (ROOT, PACKAGE, folder) for each in start.glob(name)]
    if "/" not in name:
        found += PACKAGE.rglob(name)
    return any(each.is_dir() or not path.endswith("/") for each in found)


@pytest.mark.parametrize("page", PAGES)
def test_page_names_only_paths_that_exist(page: str) -> None:
    file = ROOT / page
    paths = named_paths(file.read_text())
    assert paths, "the page names no path: is it read correctly?"
    assert sorted(path for path in paths if not is_there(path, file.parent)) == []


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("see `live/nothing.py` and `gone.py`,", {"live/nothing.py", "gone.py"}),
        ("run scripts/nothing --all", {"scripts/nothing"}),
        (
            "nothing/, [there](../docs/nothing.md#title), [NOTHING](NOTHING)",
            {"nothing/", "../docs/nothing.md", "NOTHING"},
        ),
        ("`GET /api/conversations` and/or text/event-stream, HTTP/1.1, https://example.org/a.py", set()),
    ],
)
def test_reading_of_paths_misses_none(text: str, paths: set[str]) -> None:
    assert named_paths(text) == paths
    assert not any(is_there(path, ROOT / "docs") for path in paths)


def test_contributing_names_every_script() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    scripts = [path.name for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix]
    assert {"serve", "lock"} <= set(scripts)
    assert [name for name in scripts if f"`scripts/{name}`" not in text] == []


def test_contributing_names_every_folder_of_the_server() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    folders = [path.parent.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("__init__.py")]
    assert "chatserver/live" in folders
    assert [folder for folder in folders if f"`{folder}/`" not in text] == []
