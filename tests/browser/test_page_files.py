"""The files of the page: few bytes, nothing from elsewhere, and types that the compiler accepts."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response

from chatserver.web.page.page_files import load_files, slimmed
from tests.browser.chat import Chat
from tests.browser.conftest import Server
from tests.needs import NODE_FOLDER

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def browser(whole_browser: Browser) -> Browser:
    return whole_browser


PAGE = Path(__file__).parents[2] / "chatserver" / "web" / "page"
COMPILER = NODE_FOLDER / "node_modules" / ".bin" / "tsc"
MOST_COLUMNS = 120
# Compressed by Brotli, as browsers get them.
MOST_BYTES = 50_000
MOST_BYTES_EVER = 95_000


def test_page_is_small_and_loads_nothing_from_elsewhere(page: Page, server: Server) -> None:
    files = load_files(PAGE / "static").by_name
    loaded: set[str] = set()

    def note(response: Response) -> None:
        assert response.url.startswith(server.url)
        if "/api/" not in response.url:
            loaded.add(re.sub(r".*/static/[^/]+/", "", response.url) if "/static/" in response.url else "index.html")

    page.on("response", note)
    Chat(page).open()
    page.wait_for_load_state("networkidle")
    sheets = {"css/index-all.css", "css/print.css"}
    assert loaded == {"index.html", "icon.svg", "js/base/look.js", "js/main.js", *sheets}
    sizes = {name: len(files[name].forms["br"]) for name in loaded}
    assert sum(sizes.values()) < MOST_BYTES, sizes
    assert sum(len(file.forms["br"]) for file in files.values() if "br" in file.forms) < MOST_BYTES_EVER


def test_second_visit_asks_for_one_file(page: Page, server: Server) -> None:
    """The page itself, which has not changed. Everything that it names is kept, what it loads later included."""

    def visit(visited: Page) -> None:
        chat = Chat(visited).open()
        with visited.expect_request_finished(lambda request: request.url.endswith("/main-more.js")):
            chat.box.hover()  # the first input loads the rest
        visited.wait_for_load_state("networkidle")

    def served() -> Counter[str]:
        metrics = page.request.get("/metrics").text()
        counts = re.findall(r'requests_total\{handler="(PageHandler|StaticHandler)",.*status="(\d+)"} (.+)', metrics)
        return Counter({f"{handler} {status}": int(float(count)) for handler, status, count in counts})

    before = served()
    visit(page)
    first = served()
    asked = first - before
    assert asked["PageHandler 200"] == 1
    at_once, later = 5, 6  # without the page itself: scripts, sheets and the icon; a script and sheets
    assert asked["StaticHandler 200"] == at_once + later
    visit(page.context.new_page())
    assert served() - first == Counter({"PageHandler 304": 1})


@pytest.mark.npm
def test_modules_compile_to_the_same_code_as_they_are_written_and_sent(tmp_path: Path) -> None:
    """Comments and indents are removed by regular expressions; a compiler that knows the language removes the same."""
    scripts = PAGE / "static" / "js"
    written = {str(path.relative_to(scripts)): path.read_bytes() for path in scripts.rglob("*.js")}
    sent = {name: slimmed(text, ".js") for name, text in written.items()}
    assert sum(map(len, sent.values())) < 0.9 * sum(map(len, written.values()))
    assert compiled(tmp_path / "written", written) == compiled(tmp_path / "sent", sent)


def compiled(folder: Path, modules: dict[str, bytes]) -> dict[str, str]:
    """The modules without any comments and with the compiler's own line breaks, by their paths."""
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


def test_lines_are_at_most_120_columns_wide() -> None:
    """A tab counts as one column. ruff checks this in Python files only."""
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
def test_modules_pass_the_type_checker() -> None:
    result = subprocess.run([COMPILER, "-p", PAGE / "tsconfig.json"], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout
