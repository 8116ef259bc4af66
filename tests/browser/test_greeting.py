"""What a new conversation shows: who will answer, agents to choose from, and first questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.browser.conftest import Server
from tests.browser.held import Held
from tests.conftest import DatabaseMaker
from tests.kit.in_thread import in_thread
from tests.kit.server_process import started

pytestmark = pytest.mark.browser

ONE_MODEL = """
[providers.main]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "llama-large"
"""
PLACES = """() => ["#greetingTitle", "#composer"].map((one) => {
  const {top, left} = document.querySelector(one).getBoundingClientRect();
  return [top, left];
})"""

Serve = Callable[[str], AbstractContextManager[str]]


@pytest.fixture
def serve(make_database: DatabaseMaker, tmp_path: Path) -> Serve:
    """Starts a server with this configuration, and returns its address."""

    @contextmanager
    def serving(configuration: str) -> Iterator[str]:
        (tmp_path / "chatserver.toml").write_text(configuration)
        with make_database() as database_url:
            arguments = ("--config", str(tmp_path / "chatserver.toml"), "--data-dir", str(tmp_path / "data"))
            with in_thread(lambda: started(*arguments, "--database-url", database_url)) as process:
                yield process.part.url

    return serving


def test_server_without_a_model_says_so_and_links_to_help(page: Page, serve: Serve) -> None:
    with serve("") as url:
        page.goto(url)
        chat = Chat(page)
        expect(chat.main.get_by_text("Echo: no model is connected yet.")).to_be_visible()
        help_link = chat.main.get_by_role("link", name="How to connect a model")
        expect(help_link).to_have_attribute("href", "/help")
        expect(chat.agent).to_have_text("Echo")
        expect(chat.main.get_by_role("group", name="Agents")).to_have_count(0)
        expect(chat.button("Make an agent…")).to_have_count(0)
        page.goto("about:blank")


def test_only_model_answers_under_its_own_name(page: Page, serve: Serve) -> None:
    with serve(ONE_MODEL) as url:
        page.goto(url)
        chat = Chat(page)
        expect(chat.agent).to_have_text("llama-large")
        expect(chat.main.get_by_text("llama-large will answer")).to_be_visible()
        chat.button("Make an agent…").click()
        form = page.get_by_role("dialog", name="New agent")
        expect(form.get_by_label("Answers come from")).to_have_value("main")
        expect(form.get_by_label("Model", exact=True)).to_have_attribute("placeholder", "llama-large")
        form.get_by_label("Name").fill("Large")
        form.get_by_role("button", name="Save", exact=True).click()
        page.keyboard.press("Escape")
        expect(chat.main.get_by_role("group", name="Agents").get_by_role("button")).to_have_count(2)
        page.goto("about:blank")


def test_agents_and_first_questions_are_offered_and_nothing_jumps(page: Page, server: Server) -> None:
    agents = [server.create_agent(f"Expert {number}", "slow") for number in range(7)]
    held = Held(page, "**/agents?*")
    chat = Chat(page)
    page.goto("/")
    held.until(1)
    expect(page.get_by_role("heading", name="What is on your mind?")).to_be_visible()
    expect(chat.main.get_by_role("group")).to_have_count(0)
    before = page.evaluate(PLACES)
    held.let_go()
    cards = chat.main.get_by_role("group", name="Agents").get_by_role("button")
    expect(cards).to_have_count(6)
    expect(chat.agent).to_have_text("Echo")
    assert page.evaluate(PLACES) == before

    expect(chat.main.get_by_text("Echo will answer · Repeats what you write")).to_be_visible()
    pressed = chat.main.get_by_role("button", pressed=True)
    expect(pressed).to_contain_text("Echo")
    cards.filter(has_text="Expert 2").click()
    expect(pressed).to_contain_text("Expert 2")
    expect(pressed).to_be_focused()
    expect(chat.agent).to_have_attribute("value", agents[2])
    chat.button("All agents…").click()
    page.get_by_role("option", name="Expert 6").click()
    expect(cards).to_have_count(6)
    expect(pressed).to_contain_text("Expert 6")
    expect(chat.main.get_by_text("Expert 6 will answer")).to_be_visible()
    assert page.evaluate(PLACES) == before

    questions = chat.main.get_by_role("group", name="First questions")
    chat.box.fill("Mine. ")
    questions.get_by_role("button", name="Explain something").click()
    expect(chat.box).to_have_value("Mine. \n\nExplain in simple words: ")
    chat.box.fill("")
    questions.get_by_role("button", name="Explain something").click()
    expect(chat.box).to_have_value("Explain in simple words: ")
    questions.get_by_role("button", name="What can you do?").click()
    expect(chat.box).to_have_value("What can you do?")
    expect(chat.box).to_be_focused()
    page.reload()  # It is a draft, as if it had been typed.
    expect(chat.box).to_have_value("What can you do?")
    chat.choose_agent("Expert 6")
    chat.box.press("Enter")
    chat.until_answered()
    expect(questions).to_be_hidden()
    assert [message["agentId"] for message in server.messages(chat.conversation_id)][1:] == [agents[6]]

    chat.button("New conversation").click()
    expect(pressed).to_contain_text("Echo")
    expect(questions).to_be_visible()
