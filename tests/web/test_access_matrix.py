"""Every operation, tried with every kind of credentials; and the ids of another company, wherever ids may stand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from chatserver.credentials import new_token
from chatserver.web.routes import ROUTES
from tests.kit.http_client import Response
from tests.kit.served_app import Served, serving
from tests.kit.tokens import Token, make_token, revoke

READER, MEMBER, MANAGER = range(3)
ROLES = ("reader", "member", "manager")

# What each operation needs. It is written here, too, so that nobody changes a rule unawares.
NEEDS = {
    "listConversations": READER,
    "createConversation": MEMBER,
    "getConversation": READER,
    "updateConversation": MEMBER,
    "deleteConversation": MEMBER,
    "restoreConversation": MEMBER,
    "archiveConversation": MEMBER,
    "unarchiveConversation": MEMBER,
    "pinConversation": MEMBER,
    "unpinConversation": MEMBER,
    "branchConversation": MEMBER,
    "listMessages": READER,
    "addMessage": MEMBER,
    "editMessage": MEMBER,
    "eraseMessage": MEMBER,
    "rewindMessages": MEMBER,
    "restoreMessages": MEMBER,
    "addBookmark": MEMBER,
    "removeBookmark": MEMBER,
    "listBookmarks": READER,
    "search": READER,
    "renderText": READER,
    "exportConversation": READER,
    "streamAnswer": READER,
    "sendAndStream": MEMBER,
    "stopAnswer": MEMBER,
    "listAgents": READER,
    "createAgent": MANAGER,
    "getAgent": READER,
    "updateAgent": MANAGER,
    "deleteAgent": MANAGER,
    "listProviders": READER,
}
# What everyone may ask for: the session, and on this machine the document.
FREE = {"getSession", "signIn", "signOut", "getOpenApi"}
# The same for everybody: nobody's resource is named.
NOBODYS = {"listProviders"}

BODIES: Mapping[str, Any] = {
    "createConversation": {"title": "new"},
    "updateConversation": {"title": "changed"},
    "addMessage": {"role": "user", "content": "more"},
    "editMessage": {"content": "edited"},
    "renderText": {"text": "x"},
    "sendAndStream": {"content": "more"},
    "createAgent": {"name": "new", "adapterType": "echo"},
    "updateAgent": {"name": "changed"},
}
OPERATIONS = {operation.id: (method, route.path) for route in ROUTES for method, operation in route.operations.items()}


@dataclass
class World:
    """A company with one of everything, and tokens of each role; the member wrote the messages."""

    client: Served
    url: str
    company: str
    tokens: Mapping[str, Token]
    conversation: str = ""
    question: str = ""
    former: str = ""
    agent: str = ""
    event_id: str = ""

    @classmethod
    async def made(cls, client: Served, url: str) -> World:
        company = str(uuid4())
        tokens = {role: make_token(url, company, role, name=role) for role in ROLES}
        world = cls(client, url, company, tokens)
        member = tokens["member"]
        made = await world.send(member, "POST", f"/api/companies/{company}/conversations", {})
        world.conversation = made.json["id"]
        stream = await client.open(
            f"/api/conversations/{world.conversation}/stream",
            method="POST",
            body={"content": f"secret {company}"},
            headers=member.bearer,
        )
        world.question = stream.headers["X-Trigger-Message-Id"]
        await stream.rest()
        assert stream.last_id is not None
        world.event_id = stream.last_id
        more = await world.send(member, "POST", f"{world.path}/messages", {"role": "user", "content": "superseded"})
        world.former = more.json["id"]
        await world.send(member, "POST", f"{world.path}/messages/{world.question}/rewind")
        again = await client.open(f"{world.path}/stream?triggerMessageId={world.question}", headers=member.bearer)
        await again.rest()
        agent = {"name": "a", "adapterType": "llm", "adapterConfig": {"provider": "slow"}}
        path = f"/api/companies/{company}/agents"
        world.agent = (await world.send(tokens["manager"], "POST", path, agent)).json["id"]
        await world.send(member, "PUT", f"{world.path}/messages/{world.question}/bookmark")
        return world

    @property
    def path(self) -> str:
        return f"/api/conversations/{self.conversation}"

    async def send(self, who: Token, method: str, path: str, body: Any = None, **headers: str) -> Response:
        return await self.client.request(method, path, body, {**who.bearer, **headers})

    async def ask_for(self, operation: str, headers: Mapping[str, str]) -> Response:
        """The response to an operation on what this company has."""
        method, template = OPERATIONS[operation]
        message = self.former if operation == "restoreMessages" else self.question
        kind = template.split("/")[2]
        ids = {"companyId": self.company, "messageId": message, "id": self.conversation}
        if kind == "agents":
            ids["id"] = self.agent
        path = re.sub(r"{(\w+)}", lambda name: ids[name[1]], template)
        path += "?q=secret" if operation == "search" else ""
        body = {"messageId": self.question} if operation == "branchConversation" else BODIES.get(operation)
        return await self.client.request(method, path, body, headers)

    async def everything(self) -> str:
        """What the company has, as its manager sees it."""
        paths = (
            f"/api/companies/{self.company}/conversations?archived=all",
            f"/api/companies/{self.company}/agents?status=all",
            f"/api/companies/{self.company}/bookmarks",
            f"{self.path}/messages?superseded=include",
        )
        return json.dumps([(await self.send(self.tokens["manager"], "GET", path)).json for path in paths])


SETTINGS: Mapping[str, Any] = {
    "auth": "authenticated",
    "trusted_proxies": ("127.0.0.1",),
    "providers": {"slow": {"kind": "echo", "pace_ms": 10_000}, "fast": {"kind": "echo", "pace_ms": 0}},
    "default_provider": "fast",
}


def test_the_matrix_has_every_operation() -> None:
    assert set(OPERATIONS) == set(NEEDS) | FREE


@pytest.mark.parametrize("operation", NEEDS)
async def test_operation_is_refused_to_all_but_those_who_may(module_database_url: str, operation: str) -> None:
    url = module_database_url
    async with serving(url, **SETTINGS) as client:
        world = await World.made(client, url)
        stranger = await World.made(client, url)
        before = await world.everything()
        expired, revoked = (make_token(url, world.company, "manager", expires=each) for each in ("-1 second", "1 day"))
        revoke(url, revoked)
        nobodys = {
            "nothing": {},
            "an unknown token": {"Authorization": f"Bearer {new_token()}"},
            "an unknown session": {"Cookie": f"chatserver_session={'x' * 43}"},
            "an expired token": expired.bearer,
            "a revoked token": revoked.bearer,
            "a bad bearer and a good cookie": {
                "Authorization": f"Bearer {new_token()}",
                "Cookie": await _cookie(client, world.tokens["manager"]),
            },
            "a proxy's headers": {"X-Forwarded-User": "manager", "X-Forwarded-Groups": "admin"},
        }
        for number, (what, headers) in enumerate(nobodys.items()):
            # Each from an address of its own: too many bad ones are refused otherwise.
            refused = await world.ask_for(operation, {**headers, "X-Forwarded-For": f"192.0.2.{number}"})
            assert refused.status == 401, what
            assert refused.headers["WWW-Authenticate"] == "Bearer"
        for role in ROLES[: NEEDS[operation]]:
            refused = await world.ask_for(operation, world.tokens[role].bearer)
            assert refused.error == (403, f"It takes the role {ROLES[NEEDS[operation]]}"), role
        if operation not in NOBODYS:
            for role in ROLES:
                refused = await world.ask_for(operation, stranger.tokens[role].bearer)
                lacks = ROLES.index(role) < NEEDS[operation]
                is_list = "{companyId}" in OPERATIONS[operation][1]
                assert refused.status == (403 if lacks or is_list else 404), role
                assert world.company not in refused.body.decode()
        assert await world.everything() == before
        for role in ROLES[NEEDS[operation] :]:
            for by_cookie in (False, True):
                fresh = await World.made(client, url)
                token = fresh.tokens[role]
                headers = {"Cookie": await _cookie(client, token)} if by_cookie else token.bearer
                response = await fresh.ask_for(operation, headers)
                assert response.status in (200, 201, 204), (role, response)
        response = await world.ask_for(operation, make_token(url, None, name="root").bearer)
        assert response.status in (200, 201, 204), response


async def _cookie(client: Served, token: Token) -> str:
    response = await client.request("POST", "/api/session", {"token": token.text})
    return response.headers["Set-Cookie"].partition(";")[0]


async def test_ids_of_another_company_mean_nothing_wherever_they_stand(module_database_url: str) -> None:
    url = module_database_url
    async with serving(url, **SETTINGS) as client:
        theirs, mine = await World.made(client, url), await World.made(client, url)
        me = mine.tokens["manager"]
        before = await theirs.everything()

        # Messages of theirs under a conversation of mine.
        for method, rest, body in (
            ("PUT", "", {"content": "x"}),
            ("DELETE", "", None),
            ("POST", "/rewind", None),
            ("POST", "/restore", None),
            ("PUT", "/bookmark", None),
        ):
            for message in (theirs.question, theirs.former):
                refused = await mine.send(me, method, f"{mine.path}/messages/{message}{rest}", body)
                assert refused.error == (404, "Message not found"), (method, rest)
        removed = await mine.send(me, "DELETE", f"{mine.path}/messages/{theirs.question}/bookmark")
        assert removed.status in (204, 404)
        branch = await mine.send(me, "POST", f"{mine.path}/branch", {"messageId": theirs.question})
        assert branch.error == (404, "Message not found")
        trigger = await mine.send(me, "GET", f"{mine.path}/stream?triggerMessageId={theirs.question}")
        assert trigger.error == (404, "Message not found")

        # An event id of theirs, from inside the answer, is one that the server does not know: mine follows.
        inside = theirs.event_id.replace(".end", ".1.2")
        assert inside != theirs.event_id
        for headers in ({"Last-Event-ID": inside}, {}):
            query = "" if headers else f"?lastEventId={inside}"
            followed = await mine.send(me, "GET", f"{mine.path}/stream{query}", None, **headers)
            assert theirs.company not in followed.body.decode()
            assert mine.company in followed.body.decode()

        # Cursors of theirs belong to another list.
        theirs_now = theirs.tokens["manager"]
        await theirs.send(theirs_now, "POST", f"/api/companies/{theirs.company}/conversations", {})
        await theirs.send(theirs_now, "POST", f"/api/companies/{theirs.company}/agents", BODIES["createAgent"])
        more = await theirs.send(theirs_now, "POST", f"{theirs.path}/messages", {"role": "user", "content": "more"})
        await theirs.send(theirs_now, "PUT", f"{theirs.path}/messages/{more.json['id']}/bookmark")
        before = await theirs.everything()
        for list_path in ("conversations", "agents", "bookmarks"):
            mine_path, theirs_path = (f"/api/companies/{each.company}/{list_path}" for each in (mine, theirs))
            cursor = (await theirs.send(theirs.tokens["manager"], "GET", f"{theirs_path}?limit=1")).json["nextCursor"]
            assert cursor is not None, list_path
            assert (await mine.send(me, "GET", f"{mine_path}?cursor={cursor}")).wrong == ["cursor"]
        pages = f"{theirs.path}/messages?limit=1"
        cursor = (await theirs.send(theirs.tokens["manager"], "GET", pages)).json["nextCursor"]
        assert (await mine.send(me, "GET", f"{mine.path}/messages?cursor={cursor}")).status == 400

        # An agent of theirs is one that is not registered: the default provider answers.
        made = await mine.send(me, "POST", f"/api/companies/{mine.company}/conversations", {"agentId": theirs.agent})
        place = f"/api/conversations/{made.json['id']}"
        answered = await mine.send(me, "POST", f"{place}/stream", {"content": "a b", "agentId": theirs.agent})
        assert '"type":"done"' in answered.body.decode()
        listed = await mine.send(me, "GET", f"/api/companies/{mine.company}/conversations?agentId={theirs.agent}")
        assert [each["id"] for each in listed.json["items"]] == [made.json["id"]]

        # A key of theirs is free here.
        key = {"Idempotency-Key": "k"}
        said = {"role": "user", "content": "x"}
        first = await theirs.send(theirs.tokens["manager"], "POST", f"{theirs.path}/messages", said, **key)
        second = await mine.send(me, "POST", f"{mine.path}/messages", {**said, "content": "y"}, **key)
        assert (first.status, second.status) == (201, 201)
        await theirs.send(theirs.tokens["manager"], "DELETE", f"{theirs.path}/messages/{first.json['id']}")

        # Nothing of theirs is found.
        for query in ("secret", theirs.company):
            found = await mine.send(me, "GET", f"/api/companies/{mine.company}/search?q={query}")
            assert theirs.company not in found.body.decode()
        after = await theirs.everything()
        assert _without_times(after) == _without_times(before)


def _without_times(everything: str) -> str:
    return re.sub(r'"updatedAt": "[^"]+"', "", everything)
