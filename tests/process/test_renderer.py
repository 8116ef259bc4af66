"""The renderer as a process: killed, stopped, too slow, and left in mid-render."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Self

import pytest

from chatserver.errors import UnavailableError
from chatserver.rendering.client import MODULE, Renderer
from chatserver.services.rendering import RenderingService
from tests.kit.process_table import ROOT, children, kill, wait_for_end
from tests.kit.server_process import ServerProcess, started
from tests.kit.waiting import PATIENCE_SECONDS, eventually

LONG_SECONDS = 60.0
# The lowest priority that there is.
LOWEST_NICENESS = 19

# Speaks as the renderer does: it says each text again, and does what some texts say. Before it is ready it waits at the
# gate that it was given, if any; and in mid-render where a text is such a gate's.
STAND_IN = """
import json, os, resource, socket, sys

def wait(port):
    with socket.create_connection(("127.0.0.1", int(port)), timeout=20) as gate:
        gate.recv(1)

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
if sys.argv[1:]: wait(sys.argv[1])
print('"ready"', flush=True)
for line in sys.stdin:
    number, text, _ = json.loads(line)
    if text.startswith("wait "): wait(text.split()[1])
    if text == "die": os._exit(3)
    if text == "crash": os.write(2, b"thread has overflowed its stack\\n\\nfatal error: stack overflow\\n"); os.abort()
    if text == "long": text = "x" * 5_000_000
    if text == "broken": print("{", flush=True)
    elif text == "other": print(json.dumps([number - 1, "of another"]), flush=True)
    elif text == "bare": print(number, flush=True)
    elif text == "half": sys.stdout.write("[1"); sys.stdout.flush(); os._exit(0)
    else: print(json.dumps([number, f"<{text}>"]), flush=True)
"""


@asynccontextmanager
async def rendering(*command: str, text_seconds: float = LONG_SECONDS, **seconds: float) -> AsyncIterator[Renderer]:
    renderer = Renderer(command or None, text_seconds=text_seconds, **seconds)
    try:
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            yield renderer
    finally:
        await renderer.close()


def stand_in(*arguments: str) -> AbstractAsyncContextManager[Renderer]:
    return rendering(sys.executable, "-c", STAND_IN, *arguments)


class Gate:
    """Where stand-ins wait until they may go on; `text` has one come here in mid-render."""

    def __init__(self) -> None:
        self._connections: list[asyncio.StreamWriter] = []
        self._stays_open = False
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._let_in, "127.0.0.1", 0)
        self.port = str(self._server.sockets[0].getsockname()[1])
        self.text = f"wait {self.port}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self.open()
        self._server.close()

    async def reached(self) -> None:
        """Wait until the next one is here."""
        await self._arrived.wait()
        self._arrived.clear()

    def open(self, *, for_good: bool = False) -> None:
        """Let those who are here go on, and, with `for_good`, all who come."""
        self._stays_open = for_good
        while self._connections:
            self._connections.pop().close()

    def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.append(writer)
        self._arrived.set()
        if self._stays_open:
            self.open(for_good=True)


async def a_turn() -> None:
    await asyncio.sleep(0)


async def leave(renderer: Renderer, text: str, wait: Callable[[], Awaitable[None]]) -> None:
    """Have it render a text, and be gone after a `wait`."""
    left = asyncio.create_task(renderer.render(text))
    await wait()
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name.startswith("chatserver")]


# --- the real one -------------------------------------------------------------------------------------------------


async def test_renderer_starts_when_needed_and_ends_in_order(caplog: pytest.LogCaptureFixture) -> None:
    async with rendering() as renderer:
        assert renderer.pid is None
        assert await renderer.render("**a**\nb") == "<p><strong>a</strong><br>\nb</p>"
        pid = renderer.pid
        assert await renderer.render("ä 😀\u2028\x0bx") == "<p>ä 😀\u2028\x0bx</p>"
        assert await renderer.render("") == ""
        assert renderer.pid == pid is not None
        # Tests that run with a low priority themselves, as on a busy machine, leave less room below it.
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(ours + 5, LOWEST_NICENESS)
        assert os.getsid(pid) == pid
    assert not Path(f"/proc/{pid}").exists()
    assert messages(caplog) == []


async def test_kill_between_two_texts_loses_nothing() -> None:
    async with rendering() as renderer:
        for text in ("a", "b", "c"):
            assert await renderer.render(text) == f"<p>{text}</p>"
            assert renderer.pid is not None
            kill(renderer.pid)


async def test_text_that_takes_too_long_kills_the_child(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatserver.children.STOP_SECONDS", LONG_SECONDS)  # it is killed, not asked
    async with rendering() as renderer:
        assert await renderer.render("a") == "<p>a</p>"
        first = renderer.pid
        assert first is not None
        kill(first, number=signal.SIGSTOP)
        renderer.text_seconds = 0.05
        assert await renderer.render("never") is None
        wait_for_end(first)
        renderer.text_seconds = LONG_SECONDS
        assert await renderer.render("b") == "<p>b</p>"
        assert renderer.pid != first
    assert messages(caplog) == ["a text of 5 characters takes too long to render"]


async def test_text_that_needs_too_much_memory_is_not_rendered(caplog: pytest.LogCaptureFixture) -> None:
    async with rendering() as renderer:
        await renderer.render("a")
        pid = renderer.pid
        text = "\n" * 6_000_000
        assert await renderer.render(text) is None
        assert await renderer.render("b") == "<p>b</p>"
        assert renderer.pid == pid
    assert messages(caplog) == [f"renderer: a text of {len(text)} characters: MemoryError"]


@pytest.mark.parametrize(
    "text",
    [
        "[a]: http://x '" + "b" * 30_000 + "'\n\n" + "[a]" * 15_000,
        "[a]: http://b.c/" + "x" * 50_000 + "\n\n" + "[a]" * 16_000,
        "[a]: http://x '" + "b" * 30_000 + "'\n\n" + "![a]" * 15_000,
        "**a " * 20_000 + " b**" * 20_000,
        "~~a " * 20_000 + " b~~" * 20_000,
        "*a **b " * 10_000 + " c** d*" * 10_000,
    ],
)
async def test_text_that_grows_or_nests_beyond_bounds_is_shown_as_written(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with rendering() as renderer:
        await renderer.render("a")
        pid = renderer.pid
        html = await renderer.render(text)
        assert html == "<p>" + text.replace("\n", "<br>\n") + "</p>"
        assert renderer.pid == pid
    (message,) = messages(caplog)
    assert message.startswith(f"renderer: a text of {len(text)} characters: shown as it was written: ")


async def test_crash_is_logged_in_one_line_and_the_text_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async with stand_in() as renderer:
        assert await renderer.render("crash") is None
        assert await renderer.render("b") == "<b>"
    assert messages(caplog) == [f"the renderer ended, with status {-signal.SIGABRT}: fatal error: stack overflow"]


@pytest.mark.parametrize("hostile", ["![" * 50_000, "a://" * 25_000, "[\n" * 50_000])
async def test_next_text_is_rendered_after_a_hostile_one(hostile: str) -> None:
    async with rendering(text_seconds=0.5) as renderer:
        await renderer.render(hostile)
        renderer.text_seconds = LONG_SECONDS
        assert await renderer.render("b") == "<p>b</p>"


async def test_loop_runs_while_a_text_is_rendered() -> None:
    async with stand_in() as renderer, Gate() as gate:
        rendered = asyncio.create_task(renderer.render(gate.text))
        await gate.reached()
        assert not rendered.done()
        gate.open()
        assert await rendered == f"<{gate.text}>"


# --- which answer is whose ----------------------------------------------------------------------------------------


async def test_next_text_gets_its_own_html_after_a_cancelled_render() -> None:
    async with stand_in() as renderer, Gate() as gate:
        assert await renderer.render("a") == "<a>"
        for wait in (a_turn, gate.reached):
            await leave(renderer, gate.text, wait)
            assert await renderer.render("b") == "<b>"


async def test_cancelling_while_the_child_starts_leaves_no_child() -> None:
    async with Gate() as gate, stand_in(gate.port) as renderer:
        for wait in (a_turn, gate.reached):
            await leave(renderer, "a", wait)
            assert [pid for pid in children(os.getpid()) if STAND_IN in Path(f"/proc/{pid}/cmdline").read_text()] == []
        gate.open(for_good=True)
        assert await renderer.render("b") == "<b>"


async def test_late_reply_is_dropped() -> None:
    async with stand_in() as renderer, Gate() as gate:
        assert await renderer.render("a") == "<a>"
        renderer.text_seconds = 0.05
        assert await renderer.render(gate.text) is None
        gate.open()
        renderer.text_seconds = LONG_SECONDS
        assert await renderer.render("b") == "<b>"


@pytest.mark.parametrize("text", ["long", "broken", "other", "bare"])
async def test_wrong_reply_kills_the_child(text: str, caplog: pytest.LogCaptureFixture) -> None:
    async with stand_in() as renderer:
        assert await renderer.render("a") == "<a>"
        pid = renderer.pid
        assert await renderer.render(text) is None
        assert renderer.pid is None
        assert pid is not None
        wait_for_end(pid)
        assert await renderer.render("b") == "<b>"
    assert messages(caplog) == [f"the HTML of a text of {len(text)} characters is too long, or malformed"]


@pytest.mark.parametrize(("text", "status"), [("die", 3), ("half", 0)])
async def test_text_that_ends_the_child_twice_is_given_up(
    text: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with stand_in() as renderer:
        assert await renderer.render(text) is None
        assert await renderer.render("b") == "<b>"
    assert messages(caplog) == [f"the renderer ended, with status {status}"] * 2


async def test_clients_that_leave_mix_nothing_up() -> None:
    renderer = Renderer((sys.executable, "-c", STAND_IN), text_seconds=LONG_SECONDS)
    texts = RenderingService(renderer, request_seconds=LONG_SECONDS)
    async with Gate() as gate:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                wanted = [[gate.text, f"a{number}", f"b{number}"] for number in range(30)]
                requests = [asyncio.create_task(texts.render(each)) for each in wanted]
                await gate.reached()
                for number, request in enumerate(requests):
                    await asyncio.sleep(0.001 * (number % 7))
                    if number % 3 == 0:
                        request.cancel()
                    if number == 10:
                        gate.open()
                outcomes = await asyncio.gather(*requests, return_exceptions=True)
        finally:
            await texts.close()
    for number, outcome in enumerate(outcomes):
        if number % 3:
            assert outcome == [f"<{text}>" for text in wanted[number]]


# --- without it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (None, "No such file or directory"),
        ("raise SystemExit(4)", "it ended with status 4"),
        ("print('hello'); input()", "its first line is not the expected one"),
        ("print('x' * 10_000_000)", "Separator is not found, and chunk exceed the limit"),
        ("input()", "not ready after 2 s"),
    ],
)
async def test_renderer_that_does_not_start_is_logged_once_and_tried_again_later(
    program: str | None, reason: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def write(code: str) -> None:
        file.write_text(f"#!{sys.executable}\n{code}")
        file.chmod(0o700)

    async def renders_again() -> bool:
        try:
            return await renderer.render("a") == "<a>"
        except UnavailableError:
            return False

    file = tmp_path / "renderer"
    if program is not None:
        write(program)
    start_seconds = 2.0 if reason.startswith("not ready") else PATIENCE_SECONDS
    async with rendering(str(file), start_seconds=start_seconds, retry_seconds=1.0) as renderer:
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await renderer.render("a")
        (record,) = (record for record in caplog.records if record.name.startswith("chatserver"))
        assert record.levelno == logging.ERROR
        assert reason in record.message
        write(STAND_IN)
        await eventually(renders_again)


# --- its end ------------------------------------------------------------------------------------------------------


def test_child_ends_with_its_input() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", MODULE, str(os.getpid())],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    output, _ = child.communicate(b'[7, "a", null]\n', timeout=20)
    assert (child.returncode, output) == (0, b'"ready"\n[7, "<p>a</p>"]\n')


async def test_server_has_one_renderer_while_it_lives(database_url: str) -> None:
    async def renderers(server: ServerProcess) -> list[int]:
        conversation = await server.conversation()
        await server.say(conversation, "*a*", "assistant")
        for _ in range(20):  # each waits for a second, which a busy machine may need to start one
            (message,) = await server.messages(conversation, "?render=html")
            if message["html"] is not None:
                break
        assert message["html"] == "<p><em>a</em></p>"
        return [pid for pid in children(server.pid) if MODULE in Path(f"/proc/{pid}/cmdline").read_text().split("\0")]

    async with started("--database-url", database_url) as server:
        first = await renderers(server)
        assert await renderers(server) == first
        assert len(first) == 1
        await server.kill()
        wait_for_end(*first)
    async with started("--database-url", database_url) as server:
        second = await renderers(server)
        server.terminate()
        assert (await server.ended())[0] == 0
        assert [pid for pid in second if Path(f"/proc/{pid}").exists()] == []
