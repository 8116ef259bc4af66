"""Texts as HTML, block by block: what is refused, and what happens if it is not rendered in time."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from chatserver.app import App
from chatserver.services.rendering import MAX_TEXT_CHARS
from chatserver.web.http.large_body_handler import SMALL_BODY_BYTES
from tests.kit.waiting import eventually
from tests.web.conftest import Api
from tests.web.test_openapi import errors_in, schema_named


@pytest.fixture(autouse=True)
def patience(chat: App) -> None:
    """However busy the machine is, there is HTML."""
    chat.rendering.request_seconds = chat.rendering.renderer.text_seconds = 20.0


async def rendered(api: Api, text: str, **body: Any) -> Any:
    answer = await api.post(f"/api/companies/{api.company}/render", {"text": text, **body})
    assert answer.status == 200, answer
    assert set(answer.json) == {"blocks"}
    return answer.json["blocks"]


async def test_text_is_rendered_block_by_block(api: Api) -> None:
    assert await rendered(api, "\n## A 😀\n\n*b*\n") == [
        {"html": "<h2>A 😀</h2>\n", "chars": 10, "headings": [2]},
        {"html": "<p><em>b</em></p>", "chars": 4, "headings": [2]},
    ]
    assert await rendered(api, "### c", headings=[1, 2]) == [{"html": "<h4>c</h4>", "chars": 5, "headings": [1, 2, 3]}]
    assert await rendered(api, "") == []
    assert await rendered(api, "<script>alert(1)</script>") == [
        {"html": "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>", "chars": 25, "headings": []}
    ]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, "text"),
        ({"text": None}, "text"),
        ({"text": "a\0"}, "text"),
        ({"text": "a" * (MAX_TEXT_CHARS + 1)}, "text"),
        ({"text": "a", "headings": [0]}, "headings.0"),
        ({"text": "a", "headings": [7]}, "headings.0"),
        ({"text": "a", "headings": [1.5]}, "headings.0"),
        ({"text": "a", "headings": ["1"]}, "headings.0"),
        ({"text": "a", "headings": [1] * 7}, "headings"),
        ({"text": "a", "headings": None}, "headings"),
    ],
)
async def test_malformed_requests_are_refused(api: Api, body: Any, wrong: str) -> None:
    answer = await api.post(f"/api/companies/{api.company}/render", body)
    assert (answer.status, answer.wrong) == (400, [wrong])


async def test_text_that_is_not_rendered_in_time_has_no_blocks(api: Api, chat: App) -> None:
    chat.rendering.renderer.command = ("/no/such/program",)
    assert await rendered(api, "nobody ever rendered this") is None


async def test_client_that_leaves_gives_its_turn_away(api: Api, chat: App) -> None:
    chat.rendering.request_seconds = chat.rendering.renderer.text_seconds = 60.0
    texts = ["[\n" * 50_000 + f"{number}" for number in range(3)]
    requests = [asyncio.create_task(rendered(api, text)) for text in texts]
    await eventually(lambda: len(chat.rendering._queue._jobs) == 3)
    for request in requests:
        request.cancel()
    await asyncio.gather(*requests, return_exceptions=True)
    await eventually(lambda: len(chat.rendering._queue._jobs) == 1)  # the one that has begun


async def test_text_that_takes_long_does_not_make_another_company_wait(api: Api, chat: App) -> None:
    chat.rendering.request_seconds = chat.rendering.renderer.text_seconds = 60.0
    slow = asyncio.create_task(rendered(api, "[\n" * 50_000))
    await eventually(lambda: chat.rendering.renderer.pid is not None)
    api.company = str(uuid4())
    assert await rendered(api, "*a*") == [{"html": "<p><em>a</em></p>", "chars": 3, "headings": []}]
    assert not slow.done()
    slow.cancel()


async def test_large_response_is_complete_and_matches_its_schema(api: Api) -> None:
    text = "- `a`\n\nb\n\n" * 10_000
    answer = await api.post(f"/api/companies/{api.company}/render", {"text": text})
    assert len(answer.body) > SMALL_BODY_BYTES
    assert sum(block["chars"] for block in answer.json["blocks"]) == len(text)
    document = (await api.get("/api/openapi.json")).json
    answer.json["blocks"] = answer.json["blocks"][:5]
    assert errors_in(document, schema_named("RenderedBlocks"), answer.json) == []
    assert errors_in(document, schema_named("RenderedBlocks"), {"blocks": None}) == []


async def test_message_about_too_many_headings_speaks_of_items(api: Api) -> None:
    answer = await api.post(f"/api/companies/{api.company}/render", {"text": "a", "headings": [1] * 7})
    assert answer.json["details"] == [{"path": "headings", "message": "must have at most 6 items"}]
