"""The renderer as a process: killed, stopped, too slow, left in mid-render, and orphaned."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from chatserver.errors import UnavailableError
from chatserver.services import renderer as renderer_module
from chatserver.services.renderer import MODULE, Renderer
from chatserver.services.rendering import RenderingService
from tests.process.conftest import ROOT, kill, wait_for_end
from tests.process.server_process import ServerProcess, children, started

# Longer than anything here takes; nothing waits for it unless a test fails.
PATIENCE_SECONDS = 20.0
LONG_SECONDS = 60.0

# Speaks as the renderer does: it says each text again, "slow" after a while, and does what other texts say.
STAND_IN = """
import json, os, sys, time
print('"ready"', flush=True)
for line in sys.stdin:
    number, text = json.loads(line)
    if text == "slow": time.sleep(0.3)
    if text == "die": os._exit(3)
    if text == "long": text = "x" * 5_000_000
    if text == "broken": print("{", flush=True)
    elif text == "other": print(json.dumps([number - 1, "of another"]), flush=True)
    elif text == "bare": print(number, flush=True)
    elif text == "half": sys.stdout.write("[1"); sys.stdout.flush(); os._exit(0)
    else: print(json.dumps([number, f"<{text}>"]), flush=True)
"""


@asynccontextmanager
async def rendering(*command: str, text_seconds: float = LONG_SECONDS) -> AsyncIterator[Renderer]:
    renderer = Renderer(command or None, text_seconds=text_seconds)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield renderer
    finally:
        await renderer.close()


def stand_in() -> AbstractAsyncContextManager[Renderer]:
    return rendering(sys.executable, "-c", STAND_IN)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name.startswith("chatserver")]


# --- the real one -------------------------------------------------------------------------------------------------


async def test_it_is_started_when_it_is_needed_and_ends_in_order(caplog: pytest.LogCaptureFixture) -> None:
    async with rendering() as renderer:
        assert renderer.pid is None
        assert await renderer.render("**a**\nb") == "<p><strong>a</strong><br>\nb</p>"
        pid = renderer.pid
        assert await renderer.render("ä 😀\u2028\x0bx") == "<p>ä 😀\u2028\x0bx</p>"
        assert await renderer.render("") == ""
        assert renderer.pid == pid is not None
        assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getsid(pid) == pid
    assert not Path(f"/proc/{pid}").exists()
    assert messages(caplog) == []


async def test_killed_between_two_texts_nothing_is_lost() -> None:
    async with rendering() as renderer:
        for text in ("a", "b", "c"):
            assert await renderer.render(text) == f"<p>{text}</p>"
            assert renderer.pid is not None
            kill(renderer.pid)


async def test_a_text_that_takes_too_long(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatserver.children._STOP_SECONDS", LONG_SECONDS)  # it is killed, not asked
    async with rendering(text_seconds=0.3) as renderer:
        assert await renderer.render("a") == "<p>a</p>"
        first = renderer.pid
        assert first is not None
        kill(first, number=signal.SIGSTOP)
        assert await renderer.render("never") is None
        wait_for_end(first)
        renderer._text_seconds = LONG_SECONDS
        assert await renderer.render("b") == "<p>b</p>"
        assert renderer.pid != first
    assert messages(caplog) == ["a text of 5 characters takes too long to render"]


async def test_a_text_that_takes_more_memory_than_there_is(caplog: pytest.LogCaptureFixture) -> None:
    async with rendering() as renderer:
        await renderer.render("a")
        pid = renderer.pid
        # A hundred thousand characters that become nearly a gigabyte: one address, wanted again and again.
        text = "[a]: http://b.c/" + "x" * 50_000 + "\n\n" + "[a]" * 16_000
        assert await renderer.render(text) is None
        assert await renderer.render("b") == "<p>b</p>"
        assert renderer.pid == pid
    assert messages(caplog) == [f"renderer: a text of {len(text)} characters: MemoryError"]


@pytest.mark.parametrize("hostile", ["![" * 50_000, "a://" * 25_000, "[\n" * 50_000])
async def test_the_loop_goes_on_whatever_is_rendered(hostile: str) -> None:
    async with rendering(text_seconds=0.5) as renderer:
        await renderer.render("a")
        rendered = asyncio.create_task(renderer.render(hostile))
        turns = 0
        while not rendered.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert turns > 20


# --- which answer is whose ----------------------------------------------------------------------------------------


async def test_left_in_mid_render_it_answers_the_next_with_its_own() -> None:
    async with stand_in() as renderer:
        assert await renderer.render("a") == "<a>"
        for seconds in (0, 0.01, 0.1):
            left = asyncio.create_task(renderer.render("slow"))
            await asyncio.sleep(seconds)
            left.cancel()
            with pytest.raises(asyncio.CancelledError):
                await left
            assert await renderer.render("b") == "<b>"


async def test_left_while_it_starts() -> None:
    async with stand_in() as renderer:
        for seconds in (0, 0.001, 0.01):
            left = asyncio.create_task(renderer.render("a"))
            await asyncio.sleep(seconds)
            left.cancel()
            with pytest.raises(asyncio.CancelledError):
                await left
            assert [pid for pid in children(os.getpid()) if STAND_IN in Path(f"/proc/{pid}/cmdline").read_text()] == []
            assert await renderer.render("b") == "<b>"
            await renderer.close()


async def test_too_late_an_answer_is_nobodys() -> None:
    async with stand_in() as renderer:
        assert await renderer.render("a") == "<a>"
        renderer._text_seconds = 0.05
        assert await renderer.render("slow") is None
        renderer._text_seconds = LONG_SECONDS
        assert await renderer.render("b") == "<b>"


@pytest.mark.parametrize("text", ["long", "broken", "other", "bare"])
async def test_what_is_no_answer_to_this(text: str, caplog: pytest.LogCaptureFixture) -> None:
    async with stand_in() as renderer:
        assert await renderer.render("a") == "<a>"
        pid = renderer.pid
        assert await renderer.render(text) is None
        assert renderer.pid is None
        assert pid is not None
        wait_for_end(pid)
        assert await renderer.render("b") == "<b>"
    assert messages(caplog) == [f"what a text of {len(text)} characters renders as is too long, or broken"]


@pytest.mark.parametrize(("text", "status"), [("die", 3), ("half", 0)])
async def test_a_text_that_ends_it_twice_is_given_up(text: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    async with stand_in() as renderer:
        assert await renderer.render(text) is None
        assert await renderer.render("b") == "<b>"
    assert messages(caplog) == [f"the renderer ended, with status {status}"] * 2


async def test_many_clients_that_leave_mix_nothing_up() -> None:
    texts = RenderingService(Renderer((sys.executable, "-c", STAND_IN)))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            requests = [asyncio.create_task(texts.render(["slow", f"a{number}", f"b{number}"])) for number in range(30)]
            for number, request in enumerate(requests):
                await asyncio.sleep(0.001 * (number % 7))
                if number % 3 == 0:
                    request.cancel()
            outcomes = await asyncio.gather(*requests, return_exceptions=True)
    finally:
        await texts.close()
    for number, outcome in enumerate(outcomes):
        if number % 3:
            assert outcome == ["<slow>", f"<a{number}>", f"<b{number}>"]


# --- without it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("/no/such/program",), "No such file or directory"),
        ((sys.executable, "-c", "raise SystemExit(4)"), "it ended with status 4"),
        ((sys.executable, "-c", "print('hello'); input()"), "it says something else"),
        ((sys.executable, "-c", "print('x' * 10_000_000)"), "Separator is not found, and chunk exceed the limit"),
        ((sys.executable, "-c", "input()"), "not ready after 0 s"),
    ],
)
async def test_one_that_does_not_start_is_told_once(
    command: tuple[str, ...], reason: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason.startswith("not ready"):
        monkeypatch.setattr(renderer_module, "START_SECONDS", 0.3)
    async with rendering(*command) as renderer:
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await renderer.render("a")
        (record,) = (record for record in caplog.records if record.name.startswith("chatserver"))
        assert record.levelno == logging.ERROR
        assert reason in record.message
        # And after a while it is tried again.
        renderer._command = (sys.executable, "-c", STAND_IN)
        renderer._not_before = 0.0
        assert await renderer.render("a") == "<a>"


# --- its end ------------------------------------------------------------------------------------------------------


def test_it_dies_with_a_parent_that_is_killed() -> None:
    # Its standard input stays open: it is this process's.
    program = f"""if True:
        import os, subprocess, sys
        child = subprocess.Popen([sys.executable, "-m", "{MODULE}", str(os.getpid())])
        print(child.pid, flush=True)
        child.wait()
    """
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert parent.stdout.readline() == b'"ready"\n'
    parent.kill()
    wait_for_end(pid)
    parent.communicate(timeout=20)


def test_the_end_of_its_input_ends_it() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", MODULE, str(os.getpid())],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    output, _ = child.communicate(b'[7, "a"]\n', timeout=20)
    assert (child.returncode, output) == (0, b'"ready"\n[7, "<p>a</p>"]\n')


def test_without_its_parent_it_does_not_start() -> None:
    command = [sys.executable, "-m", MODULE, "1"]
    assert subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=20).returncode == 1


async def test_a_server_has_one_for_as_long_as_it_lives(database_url: str) -> None:
    async def renderers(server: ServerProcess) -> list[int]:
        conversation = await server.conversation()
        await server.say(conversation, "*a*", "assistant")
        (message,) = await server.messages(conversation, "?render=html")
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
