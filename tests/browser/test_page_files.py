"""What the page is made of: few bytes, nothing from elsewhere, types that hold."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response, Route, expect

from chatserver.web.page.page_files import load_files, without_comments
from tests.browser.chat import Chat
from tests.browser.conftest import Server
from tests.browser.held import until
from tests.needs import NODE_FOLDER

pytestmark = pytest.mark.browser

PAGE = Path(__file__).parents[2] / "chatserver" / "web" / "page"
COMPILER = NODE_FOLDER / "node_modules" / ".bin" / "tsc"
MOST_COLUMNS = 120
MOST_BYTES = 100_000
MOST_BYTES_EVER = 105_000


def test_the_page_is_small_and_all_its_own(page: Page, server: Server) -> None:
    sizes: dict[str, int] = {}

    def note(response: Response) -> None:
        assert response.url.startswith(server.url)
        if "/api/" not in response.url:
            sizes[response.url] = len(response.body())

    page.on("response", note)
    Chat(page).open()
    page.wait_for_load_state("networkidle")
    assert len(sizes) > 10
    assert sum(sizes.values()) < MOST_BYTES, sizes
    assert sum(len(file.content) for file in load_files(PAGE / "static").by_name.values()) < MOST_BYTES_EVER


def test_the_page_waits_for_nothing_but_its_files(page: Page, server: Server) -> None:
    """Whatever it begins with is asked for although the first of its scripts has not come."""
    modules = load_files(PAGE / "static").links.count("; rel=modulepreload")
    assert modules > 10
    asked: set[str] = set()
    held: list[Route] = []

    def hold(route: Route) -> None:  # Playwright looks into its handlers: no method of a list will do.
        held.append(route)

    page.on("request", lambda request: asked.add(request.url) if request.url.endswith(".js") else None)
    page.route("**/js/main.js", hold)
    page.goto("/", wait_until="commit")
    until(page, lambda: bool(held) and len(asked) == modules)
    held[0].continue_()
    expect(Chat(page).button("Send")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert len(asked) == modules


@pytest.mark.npm
def test_what_is_sent_does_what_is_written(tmp_path: Path) -> None:
    """Comments are taken out by their looks; a compiler that takes them out by the language's rules agrees."""
    scripts = PAGE / "static" / "js"
    written = {str(path.relative_to(scripts)): path.read_bytes() for path in scripts.rglob("*.js")}
    sent = {name: without_comments(text, ".js") for name, text in written.items()}
    assert sum(map(len, sent.values())) < 0.9 * sum(map(len, written.values()))
    assert compiled(tmp_path / "written", written) == compiled(tmp_path / "sent", sent)


def compiled(folder: Path, modules: dict[str, bytes]) -> dict[str, str]:
    """The same modules without any comment and with the compiler's own line breaks."""
    for name, text in modules.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text)
    options = ["--allowJs", "--noCheck", "--noResolve", "--removeComments", "--target", "esnext"]
    subprocess.run(
        [COMPILER, *options, "--outDir", "out", *modules], cwd=folder, check=True, capture_output=True, timeout=120
    )
    out = folder / "out"
    texts = {str(path.relative_to(out)): path.read_text(encoding="utf-8") for path in out.rglob("*.js")}
    assert texts.keys() == modules.keys()
    return texts


def test_lines_fit() -> None:
    """Tabs counted as one column; what ruff sees to in Python nobody sees to here."""
    files = [path for path in (PAGE / "static").rglob("*") if path.suffix in (".js", ".css")]
    assert len(files) > 10
    long = [
        f"{path.name}:{number}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > MOST_COLUMNS
    ]
    assert long == []


@pytest.mark.npm
def test_types_hold() -> None:
    result = subprocess.run([COMPILER, "-p", PAGE / "tsconfig.json"], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout
