"""Shows whether other tasks get a turn between the pieces of a response."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from chatserver.web.http import list_handler


@asynccontextmanager
async def watched_pieces(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[int]]:
    """Within this context, each piece of a response adds to the list the number of turns of another task so far."""
    turns = 0
    pieces: list[int] = []
    dump, to_json = BaseModel.model_dump_json, list_handler.to_json

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def dump_and_note(model: BaseModel, **options: Any) -> str:
        pieces.append(turns)
        return dump(model, **options)

    def to_json_and_note(resource: BaseModel) -> bytes:
        pieces.append(turns)
        return to_json(resource)

    other = asyncio.create_task(take_turns())
    with monkeypatch.context() as patch:
        patch.setattr(BaseModel, "model_dump_json", dump_and_note)
        patch.setattr(list_handler, "to_json", to_json_and_note)
        yield pieces
    other.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await other
