"""The examples of docs/api.md are run as they stand there, and what the page tells is what the code does."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest
from playwright.async_api import async_playwright

from chatserver import schemas
from chatserver.errors import RETRYABLE, ErrorCode
from chatserver.settings import Settings
from chatserver.web.handlers.answer_stream import PostStreamQuery
from chatserver.web.openapi.document import REFUSALS
from chatserver.web.openapi.events import StreamEvent
from chatserver.web.openapi.queries import ListConversations, ListMessages
from tests.kit.cutting_proxy import CuttableProxy
from tests.kit.http_client import COMPANY
from tests.kit.server_process import ServerProcess, started
from tests.kit.waiting import PATIENCE_SECONDS
from tests.needs import chromium

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|js|python)\n(.*?)^```$\n(?:<!-- example: (\S+) -->)?", PAGE, re.DOTALL | re.MULTILINE)
EXAMPLES = {name: code for _, code, name in BLOCKS}
ADDRESS = "http://127.0.0.1:8000"
ANSWER = "Echo from agent: Hello there"
# So slow that an answer is not finished before its stream has been cut.
SLOW_ECHO = {
    "CHATSERVER_PROVIDERS": json.dumps({"slow": {"kind": "echo", "pace_ms": 200}}),
    "CHATSERVER_DEFAULT_PROVIDER": "slow",
}

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl not found")


async def run(name: str, port: int, folder: Path, *command: str, suffix: str) -> str:
    """Run an example against the server at `port`; returns what it printed."""
    program = folder / f"example{suffix}"
    program.write_text(EXAMPLES[name].replace(ADDRESS, f"http://127.0.0.1:{port}"), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *command,
        str(program),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert (process.returncode, errors.decode()) == (0, ""), output.decode()
    return output.decode()


async def run_shell(name: str, port: int, folder: Path) -> str:
    return await run(name, port, folder, "sh", "-eu", suffix=".sh")


async def said(server: ServerProcess) -> list[list[str]]:
    """The messages of each conversation."""
    page = await server.ok("GET", f"/api/companies/{COMPANY}/conversations")
    return [[message["content"] for message in await server.messages(each["id"])] for each in page["items"]]


def test_every_example_has_a_test_below() -> None:
    assert all(name for _, _, name in BLOCKS), "a block without a name"
    assert len(EXAMPLES) == len(BLOCKS)
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in source for name in EXAMPLES)
    assert all(ADDRESS in code for name, code in EXAMPLES.items() if name != "browser")


# --- the examples -------------------------------------------------------------------------------------------------


@needs_curl
async def test_curl_asks(database_url: str, tmp_path: Path) -> None:
    async with started("--database-url", database_url) as server:
        output = await run_shell("curl-ask", server.port, tmp_path)
        stream, _, messages = output.rpartition("\n\n")
        assert stream.startswith(":ok\n\nretry: 1000\nid: ")
        assert '"type":"done"' in stream
        assert [message["content"] for message in json.loads(messages)["items"]] == ["Hello there", ANSWER]


@needs_curl
async def test_curl_resumes(database_url: str, tmp_path: Path) -> None:
    async with started("--database-url", database_url) as server:
        *rest, status = (await run_shell("curl-resume", server.port, tmp_path)).splitlines()
        whole = [line for line in (tmp_path / "whole.txt").read_text().splitlines() if line.startswith("data:")]
        # What was streamed in tokens comes back in larger pieces, now that it is stored.
        assert texts(whole) == ANSWER
        assert texts(whole[:3]) + texts(rest) == ANSWER
        assert rest[-1] == whole[-1]
        assert status == "204"


def texts(lines: list[str]) -> str:
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    return "".join(event["content"] for event in events if event["type"] == "token")


@needs_curl
async def test_curl_sends_once(database_url: str, tmp_path: Path) -> None:
    async with started("--database-url", database_url) as server:
        assert (await run_shell("curl-once", server.port, tmp_path)).split() == ["201", "200", "422"]
        assert await said(server) == [["once"]]


@pytest.mark.parametrize("example", ["python", "httpx"])
async def test_python_client_survives_cuts(database_url: str, tmp_path: Path, example: str) -> None:
    async with started("--database-url", database_url, **SLOW_ECHO) as server:
        with CuttableProxy(server.url, cuts=2) as proxy:
            output = await run(example, proxy.port, tmp_path, sys.executable, "-W", "error", suffix=".py")
            assert output == f"done {ANSWER}\n"
            assert proxy.cuts_left == 0
            assert await said(server) == [["Hello there", ANSWER]]


@pytest.mark.npm
async def test_fetch_client_survives_cuts(database_url: str, tmp_path: Path) -> None:
    async with started("--database-url", database_url, **SLOW_ECHO) as server:
        with CuttableProxy(server.url, cuts=2) as proxy:
            output = await run("fetch", proxy.port, tmp_path, "node", suffix=".mjs")
            assert output == f"done {ANSWER}\n"
            assert proxy.cuts_left == 0
            assert await said(server) == [["Hello there", ANSWER]]


@pytest.mark.browser
def test_browser_client_survives_cuts(database_url: str) -> None:
    # On a thread of its own: the page's tests leave Playwright's loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _survive_cuts_in_a_browser(database_url)).result()


async def _survive_cuts_in_a_browser(database_url: str) -> None:
    async with (
        started("--database-url", database_url, **SLOW_ECHO) as server,
        async_playwright() as playwright,
    ):
        with CuttableProxy(server.url, cuts=2) as proxy:
            browser = await playwright.chromium.launch(
                executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
            )
            page = await browser.new_page()
            await page.goto(f"http://127.0.0.1:{proxy.port}/healthz")
            message_id, shown, refusal = await page.evaluate(
                "async (company) => {"
                + EXAMPLES["browser"]
                + """
                    const conversation = await call("POST", `/companies/${company}/conversations`);
                    const shown = [];
                    const messageId = await ask(conversation.id, "Hello there", (text) => shown.push(text));
                    const refusal = await ask(company, "Hello there", () => {}).catch((error) => error.message);
                    return [messageId, shown, refusal];
                }""",
                COMPANY,
            )
            await browser.close()
            assert proxy.cuts_left == 0
            assert shown[-1] == ANSWER
            assert sorted(shown, key=len) == shown, "nothing came twice"
            assert refusal == "404: Conversation not found"
            assert await said(server) == [["Hello there", ANSWER]]
            answer = (await server.ok("GET", f"/api/companies/{COMPANY}/conversations"))["items"][0]
            assert (await server.messages(answer["id"]))[-1]["id"] == message_id


# --- what the page tells ------------------------------------------------------------------------------------------


def table(heading: str) -> list[list[str]]:
    """The rows below the head of the table whose first column is called so."""
    found = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[- |]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert found, heading
    return [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in found[1].splitlines()]


def test_page_lists_the_events() -> None:
    schema = StreamEvent.model_json_schema()
    told = {row[0].strip("`"): row[1] for row in table("`type`")}
    variants = {kind: ref.rpartition("/")[2] for kind, ref in schema["discriminator"]["mapping"].items()}
    assert set(told) == set(variants)
    for kind, keys in told.items():
        assert ["type", *re.findall(r"`(\w+)`", keys)] == list(schema["$defs"][variants[kind]]["properties"])


def test_page_lists_the_codes_of_failures() -> None:
    assert {row[0].strip("`"): row[1] == "yes" for row in table("`code`")} == {
        code: code in RETRYABLE for code in get_args(ErrorCode)
    }


def test_page_lists_the_refusals() -> None:
    assert {int(row[0]): row[1] for row in table("Status")} == {
        status: refusal.description for status, refusal in REFUSALS.items()
    }


def test_page_lists_the_choices_while_busy() -> None:
    modes = get_args(PostStreamQuery.model_fields["when_busy"].annotation)
    assert [row[0].strip("`") for row in table("`whenBusy`")] == list(modes)


def test_page_names_the_figures_of_settings() -> None:
    settings = Settings()
    limits = dict(row[:2] for row in table("Bound"))
    assert limits["A message"] == f"{settings.max_message_chars:,} characters"
    assert limits["An answer"] == f"{settings.max_answer_chars:,} characters"
    assert limits["A body"] == f"{settings.max_body_bytes:,} bytes"
    assert schemas.MAX_TITLE_CHARS == schemas.MAX_NAME_CHARS
    assert limits["A title, or the name of an agent"] == f"{schemas.MAX_TITLE_CHARS} characters"
    assert limits["Open streams of one server process"] == f"{settings.max_streams:,}; past it 503"
    assert (
        limits["Answers that one server process generates, queues or follows at once"]
        == f"{settings.max_runs:,}; past it 503"
    )
    default, most = page_sizes(ListConversations)
    messages_default, messages_most = page_sizes(ListMessages)
    pages = f"{default} items, {most} at most; of messages {messages_default}, and {messages_most} at most"
    assert limits["A page of a list"] == pages
    assert settings.requests_per_minute == 0
    words = " ".join(PAGE.split())
    assert f"grace ({settings.resume_grace_seconds:g} s by default" in words
    assert f"took nothing for {settings.slow_reader_seconds:g} s" in words
    assert f"In {settings.ping_seconds:g} s of silence" in words
    assert f"longer than {settings.max_answer_chars:,} characters" in words


def page_sizes(query: Any) -> tuple[int, int]:
    limit = query.model_json_schema()["properties"]["limit"]
    return limit["default"], limit["maximum"]
