"""What the page is made of: few bytes, nothing from elsewhere, types that hold."""

from __future__ import annotations

import statistics
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response, expect

from scripts.benchmarks.page import USABLE
from tests.browser.chat import Chat
from tests.browser.conftest import Server
from tests.needs import NODE_FOLDER

pytestmark = pytest.mark.browser

PAGE = Path(__file__).parents[2] / "chatserver" / "web"
MOST_BYTES = 100_000
MOST_MILLISECONDS = 300


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


@pytest.mark.serial
def test_the_page_is_usable_at_once(page: Page, server: Server) -> None:
    """The median of five visits, from the navigation until the box takes text and the conversations are listed."""
    server.create_conversation("Ready", "a", "b")
    page.add_init_script(USABLE)
    times = []
    for _ in range(5):
        Chat(page).open()
        expect(Chat(page).link("Ready")).to_be_visible()
        times.append(page.evaluate("usableAt"))
    assert statistics.median(times) < MOST_MILLISECONDS, times


@pytest.mark.npm
def test_types_hold() -> None:
    compiler = NODE_FOLDER / "node_modules" / ".bin" / "tsc"
    result = subprocess.run([compiler, "-p", PAGE / "tsconfig.json"], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout
