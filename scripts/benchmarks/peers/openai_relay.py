"""A relay as many write it: the `openai` SDK in front of a model, sse-starlette behind it.

Run with `python -m`; the argument is the model's base URL.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

from openai import AsyncOpenAI
from sse_starlette.sse import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from scripts.benchmarks.peers import answers
from scripts.benchmarks.peers.uvicorn_server import serve

client: AsyncOpenAI


async def _messages(request: Request) -> JSONResponse:
    await request.json()
    return JSONResponse({"id": answers.MESSAGE_ID}, 201)


async def _stream(_request: Request) -> EventSourceResponse:
    return EventSourceResponse(_events(), headers=answers.HEADERS, sep="\n")


async def _events() -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(comment="ok", retry=1000, id=f"{answers.RUN}.1.0.0", sep="\n")
    stream = await client.chat.completions.create(
        model="stand-in", messages=[{"role": "user", "content": "Tell us all"}], stream=True
    )
    number = 0
    async for chunk in stream:
        if chunk.choices and (content := chunk.choices[0].delta.content):
            number += 1
            id_, data = answers.text_token(content, number)
            yield ServerSentEvent(data=data, id=id_, sep="\n")
    id_, data = answers.end()
    yield ServerSentEvent(data=data, id=id_, sep="\n")


if __name__ == "__main__":
    client = AsyncOpenAI(base_url=sys.argv[1], api_key="none")
    routes = [
        Route("/api/conversations/{name}/messages", _messages, methods=["POST"]),
        Route("/api/conversations/{name}/stream", _stream),
    ]
    serve(Starlette(routes=routes))
