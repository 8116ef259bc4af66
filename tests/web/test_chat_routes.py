"""Conversations and messages over HTTP, on a real PostgreSQL."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from tornado.testing import AsyncHTTPTestCase
from tornado.web import Application

from chatserver.app import App
from chatserver.settings import Settings
from chatserver.storage import branch
from chatserver.web.routes import ROUTES
from tests.kit.model_server import ModelServer
from tests.kit.served_app import serving
from tests.web.conftest import Api

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


# --- conversations ----------------------------------------------------------------------------------------


async def test_new_conversation_has_its_fields(api: Api) -> None:
    agent = str(uuid4())
    answer = await api.post(api.conversations, {"title": "Plans", "agentId": agent, "unknown": 1})
    assert answer.status == 201
    created = answer.json
    assert UUID(created["id"]).version == 7
    assert TIME.fullmatch(created["createdAt"])
    assert created == {
        "id": created["id"],
        "companyId": api.company,
        "title": "Plans",
        "agentId": agent,
        "pinnedAt": None,
        "archivedAt": None,
        "deletedAt": None,
        "createdAt": created["createdAt"],
        "updatedAt": created["createdAt"],
        "parentConversationId": None,
        "branchFromMessageId": None,
        "activeRun": None,
    }
    assert (await api.get(f"/api/conversations/{created['id']}")).json == created
    assert (await api.get(f"/api/conversations/{created['id'].upper()}")).json == created


@pytest.mark.parametrize("body", [None, {}, {"title": None}, {"title": "  ", "agentId": None}])
async def test_new_conversation_needs_no_fields(api: Api, body: Any) -> None:
    answer = await api.post(api.conversations, body)
    assert answer.status == 201
    assert (answer.json["title"], answer.json["agentId"]) == (None, None)


async def test_conversation_beyond_its_bounds_is_refused(api: Api) -> None:
    assert (await api.post(api.conversations, {"title": "é" * 200})).json["title"] == "é" * 200
    assert (await api.post(api.conversations, {"title": "é" * 201})).wrong == ["title"]
    assert (await api.post(api.conversations, {"title": 1, "agentId": "x"})).wrong == ["title", "agentId"]
    conversation = await api.conversation()
    assert (await api.patch(conversation, {"title": "x" * 201})).wrong == ["title"]
    assert (await api.patch(conversation, {"agentId": "00000000000040008000000000000001"})).wrong == ["agentId"]


async def test_patch_changes_only_the_named_fields(api: Api) -> None:
    agent = str(uuid4())
    conversation = await api.conversation(title="a")
    before = (await api.get(conversation)).json
    named = (await api.patch(conversation, {"agentId": agent})).json
    assert named == {**before, "agentId": agent, "updatedAt": named["updatedAt"]}
    assert named["updatedAt"] > before["updatedAt"]
    renamed = (await api.patch(conversation, {"title": "b"})).json
    assert (renamed["title"], renamed["agentId"]) == ("b", agent)
    cleared = (await api.patch(conversation, {"title": None, "agentId": None})).json
    assert (cleared["title"], cleared["agentId"]) == (None, None)
    untouched = await api.patch(conversation, {})
    assert untouched.status == 200
    assert untouched.json == {**cleared, "updatedAt": untouched.json["updatedAt"]}
    assert untouched.json["updatedAt"] > cleared["updatedAt"]


@pytest.mark.parametrize(("do", "undo", "key"), [("archive", "unarchive", "archivedAt"), ("pin", "unpin", "pinnedAt")])
async def test_conversation_is_archived_and_pinned(api: Api, do: str, undo: str, key: str) -> None:
    conversation = await api.conversation()
    before = (await api.get(conversation)).json
    once, twice = await api.post(f"{conversation}/{do}"), await api.post(f"{conversation}/{do}")
    assert (once.status, twice.status) == (200, 200)
    assert TIME.fullmatch(once.json[key])
    assert once.json == twice.json == {**before, key: once.json[key]}
    for _ in range(2):
        undone = await api.post(f"{conversation}/{undo}")
        assert (undone.status, undone.json) == (200, before)


async def test_list_filters_conversations(api: Api) -> None:
    agent = str(uuid4())
    paths = {title: await api.conversation(title=title) for title in ("one", "two", "three", "four", "five")}
    await api.post(f"{paths['one']}/pin")
    await api.post(f"{paths['two']}/archive")
    await api.delete(paths["three"])
    await api.patch(paths["four"], {"agentId": agent})

    async def titles(query: str = "") -> list[str]:
        answer = await api.get(f"{api.conversations}{query}")
        assert answer.status == 200, answer
        assert (answer.json["hasMore"], answer.json["nextCursor"]) == (False, None)
        return [item["title"] for item in answer.json["items"]]

    assert await titles() == ["one", "four", "five"]
    assert await titles("?archived=false&limit=100") == ["one", "four", "five"]
    assert await titles("?archived=true") == ["two"]
    assert await titles("?archived=all") == ["one", "four", "five", "two"]
    assert await titles(f"?agentId={agent}") == ["four"]
    assert await titles("?q=F") == ["four", "five"]
    assert await titles("?q=o&archived=all") == ["one", "four", "two"]
    assert await titles("?q=%25") == []
    assert await titles("?unknown=&q=five") == ["five"]
    await api.say(paths["five"], "hello")
    assert await titles() == ["one", "five", "four"]
    whole = (await api.get(f"{api.conversations}?limit=1")).json
    assert (len(whole["items"]), whole["hasMore"]) == (1, True)
    assert whole["items"][0] == (await api.get(paths["one"])).json


async def test_list_continues_where_a_page_ended(api: Api) -> None:
    made = [await api.conversation(title=str(number)) for number in range(7)]
    await api.post(f"{made[2]}/pin")
    seen, cursor = [], ""
    while True:
        page = (await api.get(f"{api.conversations}?limit=3{cursor}")).json
        seen += [item["title"] for item in page["items"]]
        if not page["hasMore"]:
            break
        cursor = f"&cursor={page['nextCursor']}"
        # What moves to the top while one reads is not seen again further down.
        await api.say(made[6], "moves")
    assert seen == ["2", "6", "5", "4", "3", "1", "0"]
    assert page["nextCursor"] is None


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=", "limit"),
        ("limit=ten", "limit"),
        ("cursor=", "cursor"),
        ("cursor=rubbish", "cursor"),
        ("cursor=WyJhIl0", "cursor"),
        ("archived=maybe", "archived"),
        ("agentId=x", "agentId"),
        ("q=", "q"),
        ("q=%ff", "q"),
        ("q=%zz", "q"),
        ("q=%00", "q"),
        ("q=a&q=b", "q"),
    ],
)
async def test_bad_query_is_refused(api: Api, query: str, path: str) -> None:
    assert (await api.get(f"{api.conversations}?{query}")).wrong == [path]


async def test_cursor_of_another_list_is_refused(api: Api) -> None:
    for _ in range(2):
        conversation = await api.conversation()
        await api.say(conversation, "x")
        await api.say(conversation, "y")
        await api.post(api.agents, {"name": "a", "adapterType": "echo"})
    lists = [api.conversations, f"{api.conversations}?archived=all", f"{conversation}/messages", api.agents]

    async def first_page(path: str, more: str) -> Any:
        return await api.get(f"{path}{'&' if '?' in path else '?'}limit=1{more}")

    cursors = [(await first_page(path, "")).json["nextCursor"] for path in lists]
    for path in lists:
        for cursor in cursors:
            answer = await first_page(path, f"&cursor={cursor}")
            if lists.index(path) == cursors.index(cursor):
                assert answer.status == 200
            else:
                assert answer.wrong == ["cursor"]


# --- messages ---------------------------------------------------------------------------------------------


async def test_new_message_has_its_fields(api: Api) -> None:
    agent = str(uuid4())
    conversation = await api.conversation()
    said = await api.say(conversation, "hello\n", "assistant", agentId=agent)
    assert TIME.fullmatch(said["createdAt"])
    assert said == {
        "id": said["id"],
        "conversationId": conversation.rpartition("/")[2],
        "role": "assistant",
        "content": "hello\n",
        "agentId": agent,
        "createdAt": said["createdAt"],
        "editedContent": None,
        "editedAt": None,
        "replyTo": None,
        "status": "completed",
        "supersededAt": None,
        "usage": None,
        "model": None,
        "stopReason": None,
        "durationMs": None,
        "reasoning": None,
        "reasoningMs": None,
        "author": None,
        "failure": None,
    }
    assert (await api.get(f"{conversation}/messages")).json == {
        "items": [said],
        "hasMore": False,
        "nextCursor": None,
    }
    assert (await api.get(conversation)).json["updatedAt"] == said["createdAt"]


async def test_message_beyond_its_bounds_is_refused(api: Api) -> None:
    conversation = await api.conversation()
    messages = f"{conversation}/messages"
    said = await api.say(conversation, "\U0001f600" * 100_000)
    assert len(said["content"]) == 100_000
    too_long = "\U0001f600" * 100_001
    assert (await api.post(messages, {"role": "user", "content": too_long})).wrong == ["content"]
    assert (await api.put(f"{messages}/{said['id']}", {"content": too_long})).wrong == ["content"]
    assert (await api.post(messages, {"role": "user", "content": ""})).wrong == ["content"]
    assert (await api.post(messages, {"role": "robot", "content": "x"})).wrong == ["role"]
    assert (await api.post(messages)).wrong == ["role", "content"]
    assert (await api.put(f"{messages}/{said['id']}", {"content": ""})).wrong == ["content"]
    assert (await api.put(f"{messages}/{said['id']}")).wrong == ["content"]
    assert len(await api.contents(conversation)) == 1


async def test_every_character_is_stored_and_returned(api: Api) -> None:
    conversation = await api.conversation()
    content = "".join(map(chr, range(1, 0x180))) + "\u2028\u202e\ufeff\uffff\U0001f469\u200d\U0001f680\U0010ffff"
    said = await api.say(conversation, content)
    assert said["content"] == content
    assert await api.contents(conversation) == [content]


async def test_title_is_the_first_line_of_the_first_user_message(api: Api) -> None:
    conversation = await api.conversation()
    await api.say(conversation, "be brief", "system")
    assert (await api.get(conversation)).json["title"] is None
    await api.say(conversation, f"\n  {'long ' * 20}\nsecond line")
    assert (await api.get(conversation)).json["title"] == ("long " * 20)[:60].strip()
    await api.say(conversation, "another")
    assert (await api.get(conversation)).json["title"] == ("long " * 20)[:60].strip()
    await api.patch(conversation, {"title": "mine"})
    await api.say(conversation, "yet another")
    assert (await api.get(conversation)).json["title"] == "mine"


async def test_edit_changes_the_effective_content(api: Api) -> None:
    conversation = await api.conversation()
    said = await api.say(conversation, "teh")
    answer = await api.put(f"{conversation}/messages/{said['id']}", {"content": "the"})
    assert answer.status == 200
    assert TIME.fullmatch(answer.json["editedAt"])
    assert answer.json == {**said, "editedContent": "the", "editedAt": answer.json["editedAt"]}
    assert (await api.get(f"{conversation}/messages")).json["items"] == [answer.json]
    assert (await api.get(conversation)).json["updatedAt"] == answer.json["editedAt"]


async def test_message_of_another_conversation_is_not_found(api: Api) -> None:
    here, there = await api.conversation(), await api.conversation()
    said = await api.say(here, "x")
    not_found = (404, "Message not found")
    assert (await api.put(f"{there}/messages/{said['id']}", {"content": "y"})).error == not_found
    assert (await api.post(f"{there}/messages/{said['id']}/rewind")).error == not_found
    assert (await api.post(f"{there}/branch", {"messageId": said["id"]})).error == not_found
    assert (await api.put(f"{here}/messages/{uuid4()}", {"content": "y"})).error == not_found
    assert await api.contents(here) == ["x"]


async def test_list_pages_through_messages(api: Api) -> None:
    conversation = await api.conversation()
    for number in range(5):
        await api.say(conversation, str(number))
    for order, expected in (("asc", "01234"), ("desc", "43210")):
        seen, cursor = "", ""
        while True:
            page = (await api.get(f"{conversation}/messages?limit=2&order={order}{cursor}")).json
            seen += "".join(message["content"] for message in page["items"])
            if not page["hasMore"]:
                break
            cursor = f"&cursor={page['nextCursor']}"
        assert seen == expected
        assert page["nextCursor"] is None
    # A reader of the newest page gets what is said after it.
    page = (await api.get(f"{conversation}/messages?limit=4")).json
    await api.say(conversation, "5")
    assert await api.contents(conversation, f"?limit=4&cursor={page['nextCursor']}") == ["4", "5"]
    for query in ("limit=0", "limit=201", "order=", "superseded=only", "cursor=x"):
        assert (await api.get(f"{conversation}/messages?{query}")).wrong == [query.partition("=")[0]]


async def test_rewind_supersedes_later_messages(api: Api, chat: App) -> None:
    conversation = await api.conversation()
    said = [await api.say(conversation, str(number)) for number in range(4)]
    answer = await api.post(f"{conversation}/messages/{said[1]['id']}/rewind")
    assert (answer.status, answer.json) == (200, {"superseded": 2})
    assert await api.contents(conversation) == ["0", "1"]
    shown = (await api.get(f"{conversation}/messages?superseded=include")).json["items"]
    assert [bool(message["supersededAt"]) for message in shown] == [False, False, True, True]
    assert (await api.post(f"{conversation}/messages/{said[1]['id']}/rewind")).json == {"superseded": 0}
    superseded = f"{conversation}/messages/{said[3]['id']}/rewind"
    assert (await api.post(superseded)).error == (404, "Message not found")
    assert (await api.post(f"{conversation}/branch", {"messageId": said[3]["id"]})).status == 404


async def test_answer_in_progress_is_shown_with_its_conversation(api: Api, module_database_url: str) -> None:
    conversation = await api.conversation()
    said = await api.say(conversation, "x")
    with psycopg.connect(module_database_url) as connection:
        connection.execute(
            "INSERT INTO chat_runs"
            " (id, conversation_id, trigger_message_id, status, owner, epoch, lease_until, started_at)"
            " VALUES (%s, %s, %s, 'active', %s, 1, now() + interval '1 minute', '2026-01-02 03:04:05.678Z')",
            [uuid4(), said["conversationId"], said["id"], uuid4()],
        )
    active = {"triggerMessageId": said["id"], "startedAt": "2026-01-02T03:04:05.678Z"}
    assert (await api.get(conversation)).json["activeRun"] == active
    assert (await api.get(api.conversations)).json["items"][0]["activeRun"] == active
    assert (await api.post(f"{conversation}/pin")).json["activeRun"] == active
    answer = await api.post(f"{conversation}/messages/{said['id']}/rewind")
    assert answer.error == (409, "An answer is being generated in this conversation")


async def test_answer_without_readers_gives_way_to_a_rewind(module_database_url: str) -> None:
    async with ModelServer() as model, serving(module_database_url, **model.settings) as client:
        conversation = await client.conversation()
        question = await client.say(conversation, "x")
        rewind = f"/api/conversations/{conversation}/messages/{question}/rewind"
        stream = await client.stream(conversation, question)
        await stream.opened()
        call = await model.call()
        await call.send("a")
        assert (await stream.event())["content"] == "a"
        assert (await client.request("POST", rewind)).status == 409
        stream.leave()
        await client.app.streams.wait_empty()
        assert await client.ok("POST", rewind) == {"superseded": 0}
        await call.closed()


async def test_branch_copies_the_history(api: Api) -> None:
    conversation = await api.conversation(agentId=str(uuid4()))
    said = [await api.say(conversation, str(number)) for number in range(3)]
    await api.put(f"{conversation}/messages/{said[0]['id']}", {"content": "edited"})
    source = (await api.get(conversation)).json
    answer = await api.post(f"{conversation}/branch", {"messageId": said[1]["id"]})
    assert answer.status == 201
    made = answer.json
    assert (made["parentConversationId"], made["branchFromMessageId"]) == (source["id"], said[1]["id"])
    assert {key: made[key] for key in ("companyId", "title", "agentId")} == {
        key: source[key] for key in ("companyId", "title", "agentId")
    }
    path = f"/api/conversations/{made['id']}"
    assert (await api.get(path)).json == made
    copies = (await api.get(f"{path}/messages")).json["items"]
    assert [(copy["content"], copy["editedContent"]) for copy in copies] == [("0", "edited"), ("1", None)]
    assert not {copy["id"] for copy in copies} & {message["id"] for message in said}
    assert (await api.get(conversation)).json == source
    assert (await api.post(f"{conversation}/branch", {})).wrong == ["messageId"]


async def test_branch_that_would_copy_too_much_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch, "MAX_BYTES", 1 << 20)
    conversation = await api.conversation()
    for _ in range(11):
        said = await api.say(conversation, "x" * 100_000)
    answer = await api.post(f"{conversation}/branch", {"messageId": said["id"]})
    assert answer.error == (422, "Too much to copy: a branch has at most 10,000 messages and 1 MiB of text")
    assert len((await api.get(api.conversations)).json["items"]) == 1


async def test_history_holds_effective_contents_without_superseded_messages(api: Api, chat: App) -> None:
    from chatserver.services.access import local_actor

    conversation = await api.conversation()
    first, second = await api.say(conversation, "teh"), await api.say(conversation, "yes", "assistant")
    await api.say(conversation, "taken back")
    await api.put(f"{conversation}/messages/{first['id']}", {"content": "the"})
    await api.post(f"{conversation}/messages/{second['id']}/rewind")
    history = await chat.context.conversations.get_message_history(local_actor(), UUID(first["conversationId"]))
    assert [(str(each.id), each.role, each.content, each.position) for each in history] == [
        (first["id"], "user", "the", 1),
        (second["id"], "assistant", "yes", 2),
    ]


# --- what is not there ------------------------------------------------------------------------------------

BELOW = [
    (method, route.path)
    for route in ROUTES
    for method in route.operations
    if route.path.startswith("/api/conversations/{id}")
]
# As much as any of these routes needs.
BODY = {"role": "user", "content": "x", "messageId": str(uuid4())}
GONE = ((404, "Conversation not found"), (404, "Message not found"))


async def test_deleted_conversation_is_not_found_until_restored(api: Api) -> None:
    conversation = await api.conversation(title="t")
    said = await api.say(conversation, "x")
    before = (await api.get(conversation)).json
    deleted = await api.delete(conversation)
    assert (deleted.status, deleted.body) == (204, b"")
    for method, template in BELOW:
        if template.endswith("/restore"):
            continue
        path = template.replace("/api/conversations/{id}", conversation).replace("{messageId}", said["id"])
        body = None if method in ("GET", "DELETE") else {**BODY, "messageId": said["id"]}
        answer = await api.request(method, path, body)
        assert answer.error in GONE, (method, template)
    assert (await api.get(f"{api.conversations}?archived=all")).json["items"] == []
    restored = await api.post(f"{conversation}/restore")
    assert (restored.status, restored.json) == (200, before)
    assert (await api.post(f"{conversation}/restore")).json == before
    assert await api.contents(conversation) == ["x"]


@pytest.mark.parametrize(("method", "template"), BELOW)
async def test_unknown_conversation_is_not_found(api: Api, method: str, template: str) -> None:
    path = template.replace("{id}", str(uuid4())).replace("{messageId}", str(uuid4()))
    answer = await api.request(method, path, None if method in ("GET", "DELETE") else BODY)
    assert answer.error[0] == 404


@pytest.mark.parametrize("bad", ["x", "%20", "%00", "%ff", "%2e%2e", "01a2066cab457b0390cb32bab075e0f7", "null"])
async def test_malformed_id_is_refused_unlike_an_unknown_one(api: Api, bad: str) -> None:
    for route in ROUTES:
        names = re.findall(r"{\w+}", route.path)
        for name in names:
            path = route.path.replace(name, bad)
            for other in names:
                path = path.replace(other, str(uuid4()))
            for method in route.operations:
                answer = await api.request(method, path, None if method in ("GET", "DELETE") else BODY)
                if answer.json["error"] != "Validation error":  # a body may be judged first
                    assert answer.error == (400, "Malformed path" if bad == "%ff" else "Malformed id"), (method, path)


# --- the other way to test handlers -----------------------------------------------------------------------


class ChatRoutesTest(AsyncHTTPTestCase):
    """Tornado's own test case serves the same application."""

    @pytest.fixture(autouse=True)
    def _on_a_database(self, module_database_url: str) -> None:
        self._url = module_database_url

    def get_app(self) -> Application:
        self.chat = App(Settings(), self._url, {})
        return self.chat.web

    def tearDown(self) -> None:
        self.io_loop.run_sync(self.chat.close)
        super().tearDown()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        answer = self.fetch(
            path,
            method=method,
            body=None if body is None else json.dumps(body),
            headers=headers,
            allow_nonstandard_methods=True,
        )
        return answer.code, json.loads(answer.body) if answer.body else None

    def test_conversation_from_beginning_to_end(self) -> None:
        status, conversation = self.call("POST", f"/api/companies/{uuid4()}/conversations", {"title": "t"})
        assert status == 201
        path = f"/api/conversations/{conversation['id']}"
        status, said = self.call("POST", f"{path}/messages", {"role": "user", "content": "hello"})
        assert status == 201
        assert self.call("GET", f"{path}/messages") == (
            200,
            {"items": [said], "hasMore": False, "nextCursor": None},
        )
        assert self.call("DELETE", path) == (204, None)
        assert self.call("GET", path) == (404, {"error": "Conversation not found"})
