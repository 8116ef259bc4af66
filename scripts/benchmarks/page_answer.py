"""What a browser spends on an answer that grows: in the chat page, and in a page that only appends its text."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scripts.benchmarks.bench import Bench
from scripts.benchmarks.figures import spread
from scripts.benchmarks.report import Goal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROVIDER = {"kind": "echo", "pace_ms": 10}
TOKENS = 1_000
CPU_GOAL = Goal("page: CPU for 1,000 tokens of Markdown, more than a bare page", 1.5, " s")

PART = """## Part {number}

This paragraph has **strong** words, *emphasis*, some `code` and a [link](https://example.com/{number}). It goes on for
two or three lines, so that it looks like a part of an answer that somebody waits for and reads as it comes.

- The first point is short.
- The second one has `more code` in it, and a few words more than the first.

```python
def part(number: int) -> str:
    # one of many
    return f"Part {{number}}" if number else "the first part"
```

| name | value |
|---|---|
| number | {number} |
| words | many |

"""

# `follow` appends each token as text, and keeps the end in view.
BARE = """<!doctype html><title>bare</title>
<style>main { height: 100vh; overflow: auto; white-space: pre-wrap }</style><main></main>
<script>
const main = document.querySelector("main");
const follow = (stream) => new Promise((resolve) => {
  const source = new EventSource(stream);
  source.onmessage = ({data}) => {
    const event = JSON.parse(data);
    if (event.type === "token") main.append(event.content);
    main.scrollTop = main.scrollHeight;
    if (event.type === "done") resolve(source.close());
  };
});
</script>"""


def measure(bench: Bench, browser: Browser, port: int, company: str) -> None:
    """Print the table, and the goal's line. `browser` is otherwise idle, and the server answers as PROVIDER says."""
    question = _question()

    def ask_in_the_page(page: Page) -> None:
        page.locator("textarea[aria-label=Message]").fill(question)
        page.locator("[aria-label=Send]").click()
        page.locator("[aria-label=Regenerate]").wait_for(timeout=60_000)

    def ask_for_a_bare_page(page: Page) -> None:
        conversation = _post(port, f"/companies/{company}/conversations", {})["id"]
        asked = _post(port, f"/conversations/{conversation}/messages", {"role": "user", "content": question})["id"]
        page.evaluate(
            "(stream) => follow(stream)", f"/api/conversations/{conversation}/stream?triggerMessageId={asked}"
        )

    pages = {"the chat page": ("/", ask_in_the_page), "a bare page": ("/bare", ask_for_a_bare_page)}
    seconds: dict[str, list[float]] = {name: [] for name in pages}
    for _ in range(bench.rounds):
        for name, (path, ask) in pages.items():
            seconds[name].append(_cpu_of(browser, f"http://127.0.0.1:{port}{path}", ask))
    bench.report.table(
        f"page: CPU seconds of the browser for an answer of {TOKENS:,} tokens, 100 a second",
        ["", "CPU"],
        [[name, spread(values)] for name, values in seconds.items()],
    )
    chat, bare = seconds.values()
    bench.report.goal(CPU_GOAL, [one - other for one, other in zip(chat, bare, strict=True)])


def _question() -> str:
    """Markdown of about TOKENS pieces of the echo, which are words and the white space between them."""
    text, number = "Here it comes.\n\n", 0
    while len(re.findall(r"\s+|\S+", text)) < TOKENS:
        text += PART.format(number=number)
        number += 1
    return text


def _cpu_of(browser: Browser, url: str, ask: Callable[[Page], None]) -> float:
    """CPU seconds of all processes of the browser from the question to the end of the answer."""
    page = browser.new_page()
    page.route("**/bare", lambda route: route.fulfill(body=BARE, content_type="text/html"))
    page.goto(url)
    page.wait_for_timeout(2_000)  # what the browser does after a page is opened
    session = browser.new_browser_cdp_session()

    def spent() -> float:
        processes: list[dict[str, Any]] = session.send("SystemInfo.getProcessInfo")["processInfo"]
        return sum(process["cpuTime"] for process in processes)

    before = spent()
    ask(page)
    seconds = spent() - before
    session.detach()
    page.close()
    return seconds


def _post(port: int, path: str, body: dict[str, Any]) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", f"/api{path}", json.dumps(body), {"Content-Type": "application/json"})
    response = json.loads(connection.getresponse().read())
    connection.close()
    return response
