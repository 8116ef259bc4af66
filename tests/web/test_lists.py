"""Lists are written in pieces: a page may hold 200 answers of 1,000,000 characters, and nobody else waits for it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from chatserver.web.http import list_handler
from chatserver.web.routes import ROUTES
from tests.web.conftest import Api
from tests.web.turns import watched_pieces

LISTS = {
    route.path
    for route in ROUTES
    for operation in route.operations.values()
    if operation.query is not None and "cursor" in operation.query.model_fields
}


async def filled(api: Api) -> Mapping[str, str]:
    """The path of each list by that of its route, with two items in each."""
    for name in ("One", "Two"):
        await api.post(api.agents, {"name": name, "adapterType": "echo"})
    await api.conversation()
    conversation = await api.conversation()
    for content in ("[] fox", '"fox",\u2028'):
        said = await api.say(conversation, content)
        await api.put(f"{conversation}/messages/{said['id']}/bookmark")
    company = f"/api/companies/{api.company}"
    return {
        "/api/companies/{companyId}/conversations": api.conversations,
        "/api/companies/{companyId}/agents": api.agents,
        "/api/companies/{companyId}/bookmarks": f"{company}/bookmarks",
        "/api/companies/{companyId}/search": f"{company}/search?q=fox",
        "/api/conversations/{id}/messages": f"{conversation}/messages",
    }


async def test_other_tasks_run_between_items_of_every_list(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = await filled(api)
    assert set(paths) == LISTS
    for path in paths.values():
        in_one_piece = await api.get(path)
        assert len(in_one_piece.json["items"]) == 2, path
        with monkeypatch.context() as patch:
            patch.setattr(list_handler, "BYTES_A_TURN", 0)
            async with watched_pieces(monkeypatch) as turns:
                assert (await api.get(path)).body == in_one_piece.body
        (first, second, _tail) = turns
        assert first < second, path


async def test_empty_list_has_no_items_and_no_cursor(api: Api) -> None:
    assert (await api.get(api.agents)).json == {"items": [], "hasMore": False, "nextCursor": None}
