"""Bookmarks over HTTP."""

from __future__ import annotations

import re
from uuid import uuid4

from tests.web.conftest import Api

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def list_path(api: Api) -> str:
    return f"/api/companies/{api.company}/bookmarks"


async def test_bookmark_is_put_listed_and_deleted(api: Api) -> None:
    conversation = await api.conversation(title="Plans")
    said = await api.say(conversation, "to be found again")
    bookmark = f"{conversation}/messages/{said['id']}/bookmark"
    for _ in range(2):
        answer = await api.put(bookmark)
        assert (answer.status, answer.body) == (204, b"")
    page = (await api.get(list_path(api))).json
    (item,) = page["items"]
    assert TIME.fullmatch(item.pop("createdAt"))
    assert item == {"message": said, "conversation": (await api.get(conversation)).json}
    assert (page["hasMore"], page["nextCursor"]) == (False, None)
    for _ in range(2):
        answer = await api.delete(bookmark)
        assert (answer.status, answer.body) == (204, b"")
    assert (await api.get(list_path(api))).json["items"] == []


async def test_list_pages_through_bookmarks(api: Api) -> None:
    conversation = await api.conversation()
    for number in range(3):
        said = await api.say(conversation, str(number))
        await api.put(f"{conversation}/messages/{said['id']}/bookmark")
    first = (await api.get(f"{list_path(api)}?limit=2")).json
    second = (await api.get(f"{list_path(api)}?limit=2&cursor={first['nextCursor']}")).json
    assert [item["message"]["content"] for item in first["items"] + second["items"]] == ["2", "1", "0"]
    assert (first["hasMore"], second["hasMore"]) == (True, False)
    assert (await api.get(f"{list_path(api)}?limit=0")).wrong == ["limit"]
    assert (await api.get(f"{list_path(api)}?cursor=x")).wrong == ["cursor"]


async def test_bookmark_of_an_unknown_message_is_not_found(api: Api) -> None:
    conversation, other = await api.conversation(), await api.conversation()
    first, second = await api.say(conversation, "a"), await api.say(conversation, "b")
    bookmark = f"{conversation}/messages/{second['id']}/bookmark"
    for missing in (f"{conversation}/messages/{uuid4()}/bookmark", f"{other}/messages/{first['id']}/bookmark"):
        assert (await api.put(missing)).error == (404, "Message not found")
        assert (await api.delete(missing)).error == (404, "Message not found")
    assert (await api.put(f"{conversation}/messages/x/bookmark")).error == (400, "Malformed id")
    await api.post(f"{conversation}/messages/{first['id']}/rewind")
    assert (await api.put(bookmark)).error == (404, "Message not found")
    assert (await api.delete(bookmark)).status == 204
    await api.delete(conversation)
    assert (await api.put(f"{conversation}/messages/{first['id']}/bookmark")).status == 404
    answer = await api.get(bookmark)
    assert (answer.status, answer.headers["Allow"]) == (405, "DELETE, PUT, OPTIONS")
