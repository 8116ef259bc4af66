"""Search over HTTP."""

from __future__ import annotations

from uuid import uuid4

import pytest

from chatserver.services.access import Actor, Role
from chatserver.web.openapi.queries import MAX_QUERY_CHARS
from tests.web.conftest import Api


def path(api: Api, query: str) -> str:
    return f"/api/companies/{api.company}/search?{query}"


async def test_hit_shows_its_place_and_snippet(api: Api) -> None:
    conversation = await api.conversation(title="Plans")
    said = await api.say(conversation, "the red <b>fox</b> and the den")
    answer = await api.get(path(api, "q=fox"))
    assert answer.status == 200
    assert answer.json == {
        "items": [
            {
                "message": said,
                "conversation": (await api.get(conversation)).json,
                "snippet": [
                    {"text": "the red <b>", "hit": False},
                    {"text": "fox", "hit": True},
                    {"text": "</b> and the den", "hit": False},
                ],
            }
        ],
        "hasMore": False,
        "nextCursor": None,
    }


async def test_title_is_a_hit_without_a_message(api: Api) -> None:
    conversation = await api.conversation(title="Fox hunt")
    (hit,) = (await api.get(path(api, "q=fox"))).json["items"]
    assert hit["message"] is None
    assert hit["conversation"] == (await api.get(conversation)).json
    assert hit["snippet"] == [{"text": "Fox", "hit": True}, {"text": " hunt", "hit": False}]


async def test_snippet_is_of_the_effective_content(api: Api) -> None:
    conversation = await api.conversation(title="Plans")
    said = await api.say(conversation, "first")
    edited = await api.put(f"{conversation}/messages/{said['id']}", {"content": "second fox"})
    (hit,) = (await api.get(path(api, "q=fox"))).json["items"]
    assert hit["message"] == edited.json
    assert hit["snippet"] == [{"text": "second ", "hit": False}, {"text": "fox", "hit": True}]


async def test_search_pages_through_hits(api: Api) -> None:
    conversation = await api.conversation(title="Plans")
    for number in range(5):
        await api.say(conversation, f"fox {number}")
    seen, cursor = [], ""
    while True:
        page = (await api.get(path(api, f"q=fox&limit=2{cursor}"))).json
        seen += [item["message"]["content"] for item in page["items"]]
        assert page["hasMore"] == (page["nextCursor"] is not None)
        if not page["hasMore"]:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == [f"fox {number}" for number in (4, 3, 2, 1, 0)]
    assert (await api.get(path(api, f"q=den&limit=2{cursor}"))).wrong == ["cursor"]


async def test_search_is_limited_to_the_archive_or_to_active_conversations(api: Api) -> None:
    for title in ("Put away", "At hand"):
        conversation = await api.conversation(title=title)
        await api.say(conversation, f"the fox is {title}")
        if title == "Put away":
            await api.post(f"{conversation}/archive")

    async def found(query: str) -> list[str]:
        return [item["conversation"]["title"] for item in (await api.get(path(api, f"q=fox{query}"))).json["items"]]

    assert await found("") == ["At hand", "Put away"]
    assert await found("&archived=all") == ["At hand", "Put away"]
    assert await found("&archived=true") == ["Put away"]
    assert await found("&archived=false") == ["At hand"]

    cursor = (await api.get(path(api, "q=fox&limit=1"))).json["nextCursor"]
    assert await found(f"&archived=all&cursor={cursor}") == ["Put away"]
    assert (await api.get(path(api, f"q=fox&archived=true&cursor={cursor}"))).wrong == ["cursor"]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("", "q"),
        ("q=", "q"),
        ("q=" + "x" * (MAX_QUERY_CHARS + 1), "q"),
        ("q=%00", "q"),
        ("q=fox&limit=0", "limit"),
        ("q=fox&limit=101", "limit"),
        ("q=fox&limit=x", "limit"),
        ("q=fox&archived=", "archived"),
        ("q=fox&archived=yes", "archived"),
        ("q=fox&cursor=", "cursor"),
        ("q=fox&cursor=e30", "cursor"),
    ],
)
async def test_bad_query_is_refused(api: Api, query: str, wrong: str) -> None:
    assert (await api.get(path(api, query))).wrong == [wrong]


@pytest.mark.parametrize(
    "query", ["%22", "-", "-fox", "%27%3B--", "%5C", "%26%7C!()%3A*%3C-%3E", "x" * MAX_QUERY_CHARS]
)
async def test_odd_query_finds_nothing(api: Api, query: str) -> None:
    await api.say(await api.conversation(title="Plans"), "the red fox")
    assert (await api.get(path(api, f"q={query}"))).json == {"items": [], "hasMore": False, "nextCursor": None}


async def test_malformed_company_is_refused(api: Api) -> None:
    assert (await api.get("/api/companies/x/search?q=fox")).error == (400, "Malformed id")


async def test_another_company_is_forbidden(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.say(await api.conversation(), "fox")

    async def authenticate(*_: object) -> Actor:
        return Actor("somebody", {uuid4(): Role.MANAGER})

    monkeypatch.setattr("chatserver.services.access.LocalTrusted.authenticate", authenticate)
    for list_path in (path(api, "q=fox"), f"/api/companies/{api.company}/bookmarks"):
        assert (await api.get(list_path)).status == 403
