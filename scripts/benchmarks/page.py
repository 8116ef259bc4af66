"""The chat page in a headless browser: how soon it is usable, what an answer costs, and whether it stays smooth."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from scripts.benchmarks import page_answer, servers
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.figures import number, quantile
from scripts.benchmarks.report import Goal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MESSAGES = 5_000
COMPANY = "00000000-0000-4000-8000-000000000001"
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
USABLE_GOAL = Goal("page: first visit until it is usable", 300, " ms")

QUESTION = "What about number {}?"
ANSWER = (
    "Number {} has **strong** words, some `code` and a list:\n\n- one\n- two\n\n"
    + "And then there is text enough to fill a line or two of it, so that it looks like an answer. " * 3
    + "\n\n```python\ndef answer(question: str) -> int:\n    return len(question)\n```\n"
)

# The milliseconds between frames during so many milliseconds, while the page scrolls up by `step` pixels a frame.
FRAMES = """([milliseconds, step]) => new Promise((resolve) => {
  const scroller = document.querySelector("[role=region]");
  const times = [];
  let last = performance.now();
  const end = last + milliseconds;
  const frame = () => {
    const now = performance.now();
    times.push(now - last);
    last = now;
    scroller.scrollTop -= step;
    if (now < end) requestAnimationFrame(frame);
    else resolve(times);
  };
  requestAnimationFrame(frame);
})"""
LOAD_ALL = """async () => {
  const scroller = document.querySelector("[role=region]");
  const count = () => document.querySelectorAll("main article").length;
  for (let known = 0; known !== count(); ) {
    known = count();
    scroller.scrollTop = 0;
    for (let wait = 0; wait < 100 && count() === known; wait += 1) await new Promise((done) => setTimeout(done, 20));
  }
  return count();
}"""
# Sets `usableAt` when conversations are listed and the text box is enabled, in milliseconds from the navigation.
USABLE = """new MutationObserver(() => {
  if (document.querySelector("nav li a") && document.querySelector("textarea:enabled")) {
    window.usableAt ??= performance.now();
  }
}).observe(document, {subtree: true, childList: true, attributes: true});"""


def measure(bench: Bench) -> None:
    """Measure and print tables. Without Playwright or a Chromium browser it prints that they are missing."""
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None or importlib.util.find_spec("playwright") is None:
        print("\npage: left out; it needs Chromium, and Playwright as scripts/test installs it", flush=True)
        return
    rounds = bench.rounds
    with _opened(browser_path) as (port, browser):
        conversation = _fill(port)
        origin = f"http://127.0.0.1:{port}"
        usable = [_usable(browser, origin) for _ in range(rounds)]
        bench.report.table(
            f"page: ms until conversations are listed and the box takes text, {rounds} new browsers",
            ["", "median", "max"],
            [["first visit", number(median(usable)), number(max(usable))]],
        )
        bench.report.goal(USABLE_GOAL, usable)
        frames = _frames(browser, f"{origin}/c/{conversation}", rounds)
    bench.report.table(
        f"page: ms between frames, {MESSAGES:,} messages in the conversation",
        ["", "p50", "p95", "max"],
        [
            [name, number(quantile(times, 0.5)), number(quantile(times, 0.95)), number(max(times))]
            for name, times in frames.items()
        ],
    )
    with _opened(browser_path, providers={"echo": page_answer.PROVIDER}, default_provider="echo") as (port, browser):
        page_answer.measure(bench, browser, port, COMPANY)


@contextlib.contextmanager
def _opened(browser_path: str, **settings: Any) -> Iterator[tuple[int, Browser]]:
    """The port of a new server with these settings, and a browser."""
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory(prefix="chatserver-bench-") as folder,
        servers.chatserver(Path(folder) / "data", **settings) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        yield server.port, browser
        browser.close()


def _usable(browser: Browser, origin: str) -> float:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(USABLE)
    page.goto(origin)
    page.wait_for_function("() => window.usableAt")
    milliseconds: float = page.evaluate("window.usableAt")
    context.close()
    return milliseconds


def _frames(browser: Browser, url: str, rounds: int) -> dict[str, list[float]]:
    page = browser.new_page()
    page.goto(url)
    page.get_by_role("article").last.wait_for()
    times: dict[str, list[float]] = {"an answer streams, opened just now": _while_streaming(page, rounds)}
    loaded = page.evaluate(LOAD_ALL)
    page.wait_for_timeout(1_000)
    times[f"scrolling, {loaded:,} loaded"] = page.evaluate(FRAMES, [1_000 * rounds, -200])
    streaming = _while_streaming(page, rounds, scroll_to=100_000)
    shown = page.locator("main article").count()
    times[f"an answer streams, {shown:,} loaded, among the old ones"] = streaming
    return times


def _while_streaming(page: Page, rounds: int, *, scroll_to: int | None = None) -> list[float]:
    """Milliseconds between frames, for `rounds` seconds during an answer, at its end or at `scroll_to` CSS pixels."""
    # Not by their roles: among thousands of messages the search for these takes longer than Playwright waits.
    page.locator("textarea[aria-label=Message]").fill(" ".join(f"word{n}" for n in range(200 * rounds)))
    page.locator("[aria-label=Send]").click()
    if scroll_to is not None:
        page.evaluate("(top) => { document.querySelector('[role=region]').scrollTop = top; }", scroll_to)
    page.locator("[aria-label=Stop]").wait_for()
    page.wait_for_timeout(500)
    times: list[float] = page.evaluate(FRAMES, [1_000 * rounds, 0])
    page.locator("[aria-label=Regenerate]").wait_for()
    return times


def _fill(port: int) -> str:
    """Create a conversation with MESSAGES messages and return its id."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def post(path: str, body: dict[str, Any]) -> Any:
        connection.request("POST", f"/api{path}", json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())

    conversation: str = post(f"/companies/{COMPANY}/conversations", {"title": f"{time.time():.0f}"})["id"]
    for index in range(MESSAGES):
        role, content = ("assistant", ANSWER) if index % 2 else ("user", QUESTION)
        post(f"/conversations/{conversation}/messages", {"role": role, "content": content.format(index)})
    connection.close()
    return conversation
