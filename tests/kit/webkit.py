"""WebKitGTK's small browser, driven by WebDriver (https://www.w3.org/TR/webdriver2/), on a display of its own."""

from __future__ import annotations

import asyncio
import glob
import json
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from tests.kit.remote_page import Action
from tests.kit.waiting import PATIENCE_SECONDS, eventually

_BROWSERS = "/usr/lib/*/webkit2gtk-*/MiniBrowser"


def browser_program() -> str | None:
    """The path of WebKitGTK's small browser; None if there is none."""
    return next(iter(sorted(glob.glob(_BROWSERS))), None)


class WebKit:
    """One window of a WebKit; a Driver."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = AsyncHTTPClient(force_instance=True)

    async def begin(self, width: int, height: int) -> None:
        options = {"binary": browser_program(), "args": ["--automation"]}
        session = await self._call(
            "POST", "/session", {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
        )
        self._url += f"/session/{session['sessionId']}"
        await self._call("POST", "/window/rect", {"x": 0, "y": 0, "width": width, "height": height})

    async def end(self) -> None:
        await self._call("DELETE", "")
        self._client.close()

    async def open(self, url: str) -> None:
        await self._call("POST", "/url", {"url": url})

    async def reload(self) -> None:
        await self._call("POST", "/refresh", {})

    async def evaluate(self, expression: str) -> str:
        script = f"const done = arguments[0]; {expression}.then((v) => done([v]), (e) => done([null, String(e)]));"
        value, *error = await self._call("POST", "/execute/async", {"script": script, "args": []})
        assert not error, error
        text: str = value
        return text

    async def perform(self, actions: list[Action]) -> None:
        await self._call("POST", "/actions", {"actions": actions})

    async def _call(self, method: str, path: str, body: object = None) -> Any:
        response = await self._client.fetch(
            HTTPRequest(
                self._url + path,
                method,
                body=None if method != "POST" else json.dumps(body),
                request_timeout=3 * PATIENCE_SECONDS,
            ),
            raise_error=False,
        )
        assert response.code == 200, response.body or response.error
        return json.loads(response.body)["value"]


@asynccontextmanager
async def webkit(driver_program: str, *, width: int = 1280, height: int = 800) -> AsyncIterator[WebKit]:
    """A WebKit with a home of its own."""
    port = _free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        async with _display(width, height) as display:
            process = await asyncio.create_subprocess_exec(
                driver_program,
                f"--port={port}",
                env={**os.environ, "DISPLAY": display, "HOME": home, "XDG_RUNTIME_DIR": home},
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                await eventually(lambda: _is_listening(port))
                driver = WebKit(f"http://127.0.0.1:{port}")
                await driver.begin(width, height)
                yield driver
                await driver.end()
            finally:
                # The browser outlives its driver, unless the driver ends it.
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


@asynccontextmanager
async def _display(width: int, height: int) -> AsyncIterator[str]:
    """An X server that shows its screen to nobody."""
    process = await asyncio.create_subprocess_exec(
        "Xvfb",
        "-displayfd",
        "1",
        "-screen",
        "0",
        f"{width}x{height}x24",
        "-nolisten",
        "tcp",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            number = await process.stdout.readline()
        yield f":{number.decode().strip()}"
    finally:
        process.terminate()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def _is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
