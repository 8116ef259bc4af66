"""The echo is never mistaken for a model: the first answer of a conversation says what gave it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import ECHO, Chat
from tests.browser.conftest import OpenContext, Server
from tests.browser.test_axe import SCREENS, violations
from tests.conftest import DatabaseMaker
from tests.kit.http_client import COMPANY
from tests.kit.in_thread import in_thread
from tests.kit.server_process import started

pytestmark = [pytest.mark.browser, pytest.mark.npm]

UNCONNECTED = "Echo: no model is connected yet. How to connect a model"
UNCHOSEN = "Echo: choose an agent to ask a model."


@pytest.fixture
def server_without_models(make_database: DatabaseMaker, tmp_path: Path) -> Iterator[Server]:
    with make_database() as database_url:
        arguments = ("--data-dir", str(tmp_path / "data"), "--database-url", database_url)
        with in_thread(lambda: started(*arguments, log=tmp_path / "log")) as process:
            yield Server(process, database_url)


def notes(chat: Chat) -> list[str]:
    return chat.main.locator(".echo-note").all_text_contents()


def test_first_answer_says_that_no_model_is_connected(server_without_models: Server, open_context: OpenContext) -> None:
    for screen in SCREENS.values():
        page = open_context(base_url=server_without_models.url, reduced_motion="reduce", **screen).new_page()
        chat = Chat(page).open().ask("Anybody there?").until_answered()
        first = chat.answers.first.locator("xpath=ancestor::article")
        note = first.locator("xpath=following-sibling::*[1]")
        expect(note).to_have_text(UNCONNECTED)
        assert violations(page) == []
        chat.ask("Really?").until_answered()
        expect(chat.answers).to_have_text([f"{ECHO}Anybody there?", f"{ECHO}Really?"])
        assert notes(chat) == [UNCONNECTED]
        expect(note).to_have_text(UNCONNECTED)

    page.reload()
    expect(note).to_have_text(UNCONNECTED)
    assert notes(chat) == [UNCONNECTED]
    note.get_by_role("link", name="How to connect a model").click()
    expect(page.get_by_role("heading", level=1, name="Connect a model")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Echo: no model is connected yet.")


def test_first_answer_says_that_a_model_needs_an_agent(page: Page, server: Server) -> None:
    chat = Chat(page).open().ask("Anybody there?").until_answered()
    expect(chat.main.get_by_text(UNCHOSEN)).to_be_visible()


def test_answers_of_others_than_the_echo_have_no_note(page: Page, server: Server) -> None:
    agents = f"/companies/{COMPANY}/agents"
    agent = server.call("POST", agents, {"name": "Parrot", "adapterType": "echo"})["id"]
    parrot = server.create_conversation("Parrot", agent_id=agent)
    chat = Chat(page).open(parrot).ask("Hello!").until_answered()
    expect(chat.answers).to_have_text([f"{ECHO}Hello!"])
    assert notes(chat) == []
    # One that was written, and not generated.
    chat.open(server.create_conversation("Quoted", "What did it say?", f"{ECHO}What?"))
    expect(chat.answers).to_have_text([f"{ECHO}What?"])
    assert notes(chat) == []
    # An answer of a model that was connected once.
    chat.open(server.create_conversation("Before", "Who are you?", "A model."))
    expect(chat.answers).to_have_text(["A model."])
    assert notes(chat) == []
