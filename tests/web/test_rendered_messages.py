"""Messages with the HTML of answers: only when it is asked for, only of answers, and of the wording that counts."""

from __future__ import annotations

import asyncio
import gc
from typing import Any
from uuid import uuid4

import pytest

from chatserver.app import App
from chatserver.live.journal import Journal
from chatserver.web.http.list_handler import BYTES_A_TURN
from tests.kit.waiting import eventually
from tests.web.conftest import Api
from tests.web.test_openapi import errors_in, schema_named
from tests.web.turns import watched_pieces


@pytest.fixture(autouse=True)
def patience(chat: App) -> None:
    """However busy the machine is, there is HTML."""
    chat.rendering.request_seconds = chat.rendering.renderer.text_seconds = 20.0


async def listed(api: Api, conversation: str, query: str = "render=html") -> list[Any]:
    answer = await api.get(f"{conversation}/messages?{query}")
    assert answer.status == 200, answer
    return list(answer.json["items"])


async def test_only_answers_have_html_and_only_when_asked_for(api: Api) -> None:
    conversation = await api.conversation()
    for role in ("user", "assistant", "system"):
        await api.say(conversation, "**a**\n<b>", role)
    plain = await listed(api, conversation, "")
    assert [set(message) & {"html", "formerAnswers"} for message in plain] == [set()] * 3
    rendered = await listed(api, conversation)
    html = "<p><strong>a</strong><br>\n&lt;b&gt;</p>"
    told = ((None, []), (html, None), (None, None))
    own = [{"html": html, "formerAnswers": former} for html, former in told]
    assert rendered == [{**message, **fields} for message, fields in zip(plain, own, strict=True)]


async def test_html_is_of_the_effective_content(api: Api) -> None:
    conversation = await api.conversation()
    message = await api.say(conversation, "*first*", "assistant")
    assert [each["html"] for each in await listed(api, conversation)] == ["<p><em>first</em></p>"]
    await api.put(f"{conversation}/messages/{message['id']}", {"content": "`second`"})
    assert [each["html"] for each in await listed(api, conversation)] == ["<p><code>second</code></p>"]


async def test_questions_tell_their_former_answers(api: Api) -> None:
    conversation = await api.conversation()
    question = await api.say(conversation, "q")
    answer = await api.say(conversation, "a", "assistant")
    await api.post(f"{conversation}/messages/{question['id']}/rewind")
    former = {"id": answer["id"], "createdAt": answer["createdAt"]}
    assert [each["formerAnswers"] for each in await listed(api, conversation)] == [[former]]
    everything = await listed(api, conversation, "render=html&superseded=include&order=desc")
    assert [each["formerAnswers"] for each in everything] == [None, [former]]
    await api.post(f"{conversation}/messages/{answer['id']}/restore")
    assert [each["formerAnswers"] for each in await listed(api, conversation)] == [[], None]


async def test_render_combines_with_the_rest_of_the_query(api: Api) -> None:
    conversation = await api.conversation()
    for content in ("a", "b", "c"):
        await api.say(conversation, content, "assistant")
    answer = await api.get(f"{conversation}/messages?limit=2&order=desc&render=html")
    assert [each["html"] for each in answer.json["items"]] == ["<p>c</p>", "<p>b</p>"]
    assert answer.json["hasMore"] is True
    rest = await listed(api, conversation, f"limit=2&order=desc&render=html&cursor={answer.json['nextCursor']}")
    assert [each["html"] for each in rest] == ["<p>a</p>"]


@pytest.mark.parametrize("query", ["", "render=html"])
async def test_page_of_messages_takes_one_call_of_the_database(
    api: Api, chat: App, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await api.conversation()
    await api.say(conversation, "a", "assistant")
    calls = 0
    hop = chat.database._hop

    async def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return await hop(*args)

    monkeypatch.setattr(chat.database, "_hop", counted)
    await listed(api, conversation, query)
    assert calls == 1


@pytest.mark.parametrize("value", ["", "xml", "HTML", "html,html", "html&render=html"])
async def test_unknown_rendering_is_refused(api: Api, value: str) -> None:
    conversation = await api.conversation()
    assert (await api.get(f"{conversation}/messages?render={value}")).wrong == ["render"]


async def test_unknown_conversation_is_not_found(api: Api) -> None:
    conversation = await api.conversation()
    await api.delete(conversation)
    assert (await api.get(f"{conversation}/messages?render=html")).status == 404


async def test_text_is_shown_without_a_renderer(api: Api, chat: App) -> None:
    chat.rendering.renderer.command = ("/no/such/program",)
    conversation = await api.conversation()
    await api.say(conversation, "nobody ever rendered this", "assistant")
    (message,) = await listed(api, conversation)
    assert (message["content"], message["html"]) == ("nobody ever rendered this", None)


async def test_clients_at_once_get_html_of_their_own_messages(api: Api) -> None:
    conversations = [await api.conversation() for _ in range(8)]
    for number, conversation in enumerate(conversations):
        for each in range(3):
            await api.say(conversation, f"{number}-{each}", "assistant")
    pages = await asyncio.gather(*(listed(api, conversation) for conversation in conversations))
    for number, page in enumerate(pages):
        assert [message["html"] for message in page] == [f"<p>{number}-{each}</p>" for each in range(3)]


async def test_text_that_takes_long_does_not_make_another_company_wait(api: Api, chat: App) -> None:
    chat.rendering.request_seconds = chat.rendering.renderer.text_seconds = 60.0
    hostile = await api.conversation()
    await api.say(hostile, "[\n" * 50_000, "assistant")
    slow = asyncio.create_task(listed(api, hostile))
    await eventually(lambda: chat.rendering.renderer.pid is not None)
    api.company = str(uuid4())
    other = await api.conversation()
    await api.say(other, "*a*", "assistant")
    assert [message["html"] for message in await listed(api, other)] == ["<p><em>a</em></p>"]
    assert not slow.done()
    slow.cancel()


async def test_both_lists_match_their_schemas(api: Api) -> None:
    conversation = await api.conversation()
    for role in ("user", "assistant"):
        await api.say(conversation, "a", role)
    document = (await api.get("/api/openapi.json")).json
    for query, name in (("", "ChatMessagePage"), ("?render=html", "RenderedMessagePage")):
        page = (await api.get(f"{conversation}/messages{query}")).json
        for schema in (name, "MessageList"):
            assert errors_in(document, schema_named(schema), page) == []
        item = document["components"]["schemas"][name.removesuffix("Page")]
        assert all(set(each) == set(item["properties"]) == set(item["required"]) for each in page["items"])


@pytest.mark.parametrize(("query", "copies"), [("limit=200", 1), ("limit=200&render=html", 2)])
async def test_other_tasks_run_between_long_messages(
    api: Api, query: str, copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await api.conversation()
    for _ in range(10):
        await api.say(conversation, "ä" * 50_000, "assistant")
    whole = await listed(api, conversation, query)
    assert [len(message["content"]) for message in whole] == [50_000] * 10
    async with watched_pieces(monkeypatch) as turns:
        assert await listed(api, conversation, query) == whole
    messages_a_turn = BYTES_A_TURN // (copies * 50_000) + 1
    (*pieces, _tail) = turns
    assert len(pieces) == 10
    for one, later in zip(pieces, pieces[messages_a_turn:], strict=False):
        assert one < later


@pytest.mark.parametrize("whole", [False, True])
async def test_no_journal_and_no_cache_keeps_an_erased_text(api: Api, chat: App, whole: bool) -> None:
    conversation = await api.conversation()
    answered = await api.post(f"{conversation}/stream", {"content": "*xyzzy*"})
    assert (answered.status, b"xyzzy" in answered.body) == (200, True)
    question = answered.headers["X-Trigger-Message-Id"]
    assert "<em>xyzzy</em>" in (await listed(api, conversation))[1]["html"]
    company, api.company = api.company, str(uuid4())
    other = await api.conversation()
    await api.say(other, "*plugh*", "assistant")
    assert "<em>plugh</em>" in (await listed(api, other))[0]["html"]
    api.company = company
    assert len(chat.rendering._queue._texts) == 2
    path = f"{conversation}?erase=true" if whole else f"{conversation}/messages/{question}"
    assert (await api.delete(path)).status == 204
    assert len(chat.rendering._queue._texts) == 1, "the other company's"
    await eventually(lambda: not len(chat.answers))
    gc.collect()
    assert [each.run_id for each in gc.get_objects() if isinstance(each, Journal) and "xyzzy" in each.text] == []
