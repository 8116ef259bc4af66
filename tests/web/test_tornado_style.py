"""The application under Tornado's own test case, as its users test theirs."""

from __future__ import annotations

import json

import pytest
from tornado.testing import AsyncHTTPTestCase
from tornado.web import Application

from chatserver.app import App
from chatserver.settings import Settings
from tests.kit.http_client import COMPANY


class TestStream(AsyncHTTPTestCase):
    @pytest.fixture(autouse=True)
    def _database(self, database_url: str) -> None:
        self.database_url = database_url

    def get_app(self) -> Application:
        self.app = App(Settings(), self.database_url, {})
        return self.app.web

    def tearDown(self) -> None:
        self.io_loop.run_sync(self.app.close)
        super().tearDown()

    def post(self, path: str, body: object) -> dict[str, str]:
        response = self.fetch(path, method="POST", body=json.dumps(body), headers={"Content-Type": "application/json"})
        assert response.code == 201, response.body
        resource: dict[str, str] = json.loads(response.body)
        return resource

    def test_conversation_works_in_an_asynchttptestcase(self) -> None:
        conversation = self.post(f"/api/companies/{COMPANY}/conversations", {})
        question = self.post(f"/api/conversations/{conversation['id']}/messages", {"role": "user", "content": "hi"})
        path = f"/api/conversations/{conversation['id']}/stream?triggerMessageId={question['id']}"
        response = self.fetch(path)
        assert response.code == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.body.startswith(b":ok\n\nretry: 1000\nid: ")
        events = [
            json.loads(line.removeprefix(b"data: "))
            for line in response.body.split(b"\n")
            if line.startswith(b"data: ")
        ]
        assert "".join(event["content"] for event in events[:-1]) == "Echo from agent: hi"
        assert events[-1]["type"] == "done"
        messages = json.loads(self.fetch(f"/api/conversations/{conversation['id']}/messages").body)["items"]
        assert messages[1]["id"] == events[-1]["messageId"]
