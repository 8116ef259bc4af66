"""sse-starlette as its manual shows it: an EventSourceResponse over an asynchronous generator. Run with `python -m`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sse_starlette.sse import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from scripts.benchmarks.peers import answers, source
from scripts.benchmarks.peers.uvicorn_server import serve


async def _messages(request: Request) -> JSONResponse:
    await request.json()
    return JSONResponse({"id": answers.MESSAGE_ID}, 201)


async def _stream(request: Request) -> EventSourceResponse:
    name = request.path_params["name"]
    ping = None
    events = _events(name)
    if name.startswith("idle"):
        ping = answers.ping_seconds(name)
        events = _silence()
    return EventSourceResponse(
        events,
        headers=answers.HEADERS,
        sep="\n",
        ping=ping,  # type: ignore[arg-type]
        ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
    )


async def _events(name: str) -> AsyncIterator[ServerSentEvent]:
    yield _opening()
    async for id_, data in source.events(name):
        yield ServerSentEvent(data=data, id=id_, sep="\n")


async def _silence() -> AsyncIterator[ServerSentEvent]:
    yield _opening()
    await asyncio.Event().wait()


def _opening() -> ServerSentEvent:
    return ServerSentEvent(comment="ok", retry=1000, id=f"{answers.RUN}.1.0.0", sep="\n")


async def _publish(request: Request) -> JSONResponse:
    await source.publish(request.path_params["name"])
    return JSONResponse({"id": answers.MESSAGE_ID}, 201)


if __name__ == "__main__":
    routes = [
        Route("/api/conversations/{name}/messages", _messages, methods=["POST"]),
        Route("/api/conversations/{name}/stream", _stream),
        Route("/publish/{name}", _publish, methods=["POST"]),
    ]
    serve(Starlette(routes=routes))
