"""Firefox, driven by WebDriver BiDi (https://www.w3.org/TR/webdriver-bidi/), which it speaks by itself."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.kit.remote_page import Action
from tests.kit.waiting import PATIENCE_SECONDS

_LISTENING = "WebDriver BiDi listening on "
# What a browser would do on its first start, and what it asks of its makers, is nothing to these tests.
_PREFERENCES = """
user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,");
user_pref("toolkit.telemetry.enabled", false);
"""


class Firefox:
    """One tab of a Firefox; a Driver."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self._tab = ""

    async def begin(self, width: int, height: int) -> None:
        await self._call("session.new", capabilities={})
        tree = await self._call("browsingContext.getTree")
        self._tab = tree["contexts"][0]["context"]
        await self._call("browsingContext.setViewport", context=self._tab, viewport={"width": width, "height": height})

    async def open(self, url: str) -> None:
        await self._call("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    async def reload(self) -> None:
        await self._call("browsingContext.reload", context=self._tab, wait="complete")

    async def evaluate(self, expression: str) -> str:
        done = await self._call(
            "script.evaluate", expression=expression, target={"context": self._tab}, awaitPromise=True
        )
        assert done["type"] == "success", done["exceptionDetails"]["text"]
        value: str = done["result"]["value"]
        return value

    async def perform(self, actions: list[Action]) -> None:
        await self._call("input.performActions", context=self._tab, actions=actions)

    async def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        await self._socket.write_message(json.dumps({"id": self._number, "method": method, "params": parameters}))
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            while True:
                message = await self._socket.read_message()
                assert message is not None, "the browser has ended"
                response = json.loads(message)
                if response.get("id") == self._number:
                    assert response["type"] == "success", response
                    return response["result"]


@asynccontextmanager
async def firefox(program: str, *, width: int = 1280, height: int = 800) -> AsyncIterator[Firefox]:
    """A Firefox with a profile of its own, without a window."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        with open(f"{profile}/user.js", "w") as preferences:
            preferences.write(_PREFERENCES)
        process = await asyncio.create_subprocess_exec(
            program,
            "--headless",
            "--no-remote",
            "--profile",
            profile,
            "--remote-debugging-port",
            "0",
            "about:blank",
            env={**os.environ, "HOME": profile},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            socket = await websocket_connect(f"{await _address(process)}/session")
            driver = Firefox(socket)
            await driver.begin(width, height)
            yield driver
            socket.close()
        finally:
            process.terminate()
            await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        async for line in process.stderr:
            if line.decode().startswith(_LISTENING):
                return line.decode().removeprefix(_LISTENING).strip()
    raise AssertionError("Firefox does not listen")
