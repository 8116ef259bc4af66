"""A model that holds back the ends of its answers until a test releases them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kit.in_thread import InThread, in_thread
from tests.kit.model_server import HEAD, Call, ModelServer

HELD = "hold"
# How often a held answer looks whether it was stopped.
LOOK_SECONDS = 0.05


class PatientModel:
    """It answers `Answer to {text}.`; to texts that begin with HELD only up to the point, until `release` or `fail`."""

    def __init__(self, ends: dict[str, asyncio.Future[bool]], server: InThread[ModelServer]) -> None:
        self.base_url = server.part.base_url
        self._ends = ends
        self._server = server

    def release(self, text: str) -> None:
        """Let the answer to this text end in order."""
        self._server.run(self._end(text, fails=False))

    def fail(self, text: str) -> None:
        """Break off the answer to this text."""
        self._server.run(self._end(text, fails=True))

    async def _end(self, text: str, *, fails: bool) -> None:
        end(self._ends, text).set_result(fails)


def end(ends: dict[str, asyncio.Future[bool]], text: str) -> asyncio.Future[bool]:
    """How the answer to this text ends: whether it breaks off."""
    return ends.setdefault(text, asyncio.get_running_loop().create_future())


@contextmanager
def patient_model() -> Iterator[PatientModel]:
    ends: dict[str, asyncio.Future[bool]] = {}

    async def answer(call: Call) -> None:
        # Several questions in a row come as one.
        text = call.request["messages"][-1]["content"].rpartition("\n\n")[2]
        await call.send(HEAD, "Answer to ", text)
        fails = False
        if text.startswith(HELD):
            outcome = end(ends, text)
            while not outcome.done():
                await asyncio.wait({outcome}, timeout=LOOK_SECONDS)
                if call.is_closed():
                    return
            fails = ends.pop(text).result()
        if fails:
            call.reset()
        else:
            await call.send(".")
            await call.finish()

    with in_thread(lambda: ModelServer(answer)) as server:
        yield PatientModel(ends, server)
