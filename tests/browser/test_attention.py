"""Answers that are finished while nobody looks: marks in the list, the tab's title and icon, notifications."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.browser.chat import Chat, hide, unique, words
from tests.browser.conftest import Complaints, Server
from tests.browser.held import Held, until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def browser(whole_browser: Browser) -> Browser:
    return whole_browser


# The browser's own notifications cannot be seen by a test: this notes them, and a test can click on them.
NOTE_NOTIFICATIONS = """
window.shown = [];
window.Notification = class extends Notification {
  constructor(title, options) {
    super(title, options);
    shown.push({title, body: options.body, click: () => this.dispatchEvent(new Event("click"))});
  }
};
"""
ICON = "link[rel=icon]"


def notifications(page: Page) -> list[dict[str, str]]:
    shown: list[dict[str, str]] = page.evaluate("shown.map(({title, body}) => ({title, body}))")
    return shown


def test_answer_finished_unseen_is_marked_in_all_tabs_until_it_is_opened(
    context: BrowserContext, server: Server
) -> None:
    slow = server.create_agent("Slow", "slow")
    title, beside = unique("Asked"), unique("Beside")
    asked = server.create_conversation(title, agent_id=slow)
    server.create_conversation(beside, "a", "b")
    first, second = Chat(context.new_page()), Chat(context.new_page())
    second.open()
    first.open(asked).ask(words(40))
    first.link(beside).click()
    for chat in (first, second):
        expect(chat.link(title)).to_have_accessible_description("Answering")
    for chat in (first, second):
        expect(chat.link(title)).to_have_accessible_description("New answer", timeout=30_000)
    expect(first.link(beside)).to_have_accessible_description("")
    first.page.reload()
    expect(first.link(title)).to_have_accessible_description("New answer")
    second.link(title).click()
    for chat in (first, second):
        expect(chat.link(title)).to_have_accessible_description("")

    # The tab that asked is closed; another one waits on.
    second.ask(words(40))
    second.page.close()
    expect(first.link(title)).to_have_accessible_description("New answer", timeout=30_000)
    first.link(title).click()
    expect(first.link(title)).to_have_accessible_description("")


def test_answer_finished_while_no_tab_was_open_is_marked_at_the_next_visit(
    context: BrowserContext, server: Server
) -> None:
    slow = server.create_agent("Slow", "slow")
    title = unique("Left alone")
    asked = server.create_conversation(title, agent_id=slow)
    Chat(context.new_page()).open(asked).ask(words(30))
    context.pages[0].close()
    page = context.new_page()
    until(page, lambda: len(server.messages(asked)) == 2)
    chat = Chat(page).open()
    expect(chat.link(title)).to_have_accessible_description("New answer")


def test_answer_that_failed_unseen_is_marked(context: BrowserContext, server: Server) -> None:
    away = server.create_agent("Away", "away")
    title, beside = unique("Fails"), unique("Beside")
    asked = server.create_conversation(title, agent_id=away)
    server.create_conversation(beside, "a", "b")
    chat = Chat(context.new_page()).open(asked)
    held = Held(chat.page, "**/messages", "POST", arrives=True)
    chat.box.fill("anybody?")
    chat.send.click()
    held.until(1)
    chat.link(beside).click()
    held.let_go()
    expect(chat.link(title)).to_have_accessible_description("New answer")


def test_answer_that_is_read_as_it_grows_is_not_marked(context: BrowserContext, server: Server) -> None:
    slow = server.create_agent("Slow", "slow")
    title = unique("Watched")
    chat = Chat(context.new_page()).open(server.create_conversation(title, agent_id=slow))
    chat.ask(words(20)).until_answered()
    expect(chat.link(title)).to_have_accessible_description("")
    stored: str = chat.page.evaluate("JSON.stringify({...localStorage})")
    assert chat.conversation_id not in stored


def test_answers_are_asked_for_less_often_while_the_server_is_away(
    context: BrowserContext, server: Server, complaints: Complaints
) -> None:
    """Two answers of one conversation are asked for together. The clock is the test's, and runs as fast as it wants."""
    asked = server.create_conversation("Awaited", "a", "b")
    page = context.new_page()
    page.clock.install()
    page.add_init_script(f"localStorage.setItem('chatserver awaited', '{asked}/one {asked}/other')")
    lost: list[str] = []

    def lose(route: Route) -> None:
        lost.append(route.request.url)
        route.abort()

    page.route(f"**/api/conversations/{asked}", lose)
    Chat(page).open()
    for _ in range(150):
        page.clock.run_for(1000)
    assert 1 <= len(lost) <= 5  # after 3, 9, 21, 45 and 93 seconds
    complaints.forgive()


def test_hidden_tab_tells_of_a_finished_answer_and_one_tab_notifies(context: BrowserContext, server: Server) -> None:
    context.grant_permissions(["notifications"])
    context.add_init_script(NOTE_NOTIFICATIONS)
    slow = server.create_agent("Slow", "slow")
    title = unique("Hidden")
    asked = server.create_conversation(title, agent_id=slow)
    other = Chat(context.new_page()).open()
    chat = Chat(context.new_page()).open(asked)
    icon = chat.page.locator(ICON).get_attribute("href")
    for number, wanted in enumerate((False, True), 1):
        chat.ask(words(25))
        if wanted:
            chat.page.evaluate("localStorage.setItem('chatserver notifications', 'yes')")
        for one in (other, chat):
            hide(one.page, True)
        until(chat.page, lambda number=number: len(server.messages(asked)) == 2 * number)  # type: ignore[misc]
        expect(chat.page).to_have_title(f"(1) {title} · chatserver")
        expect(other.page).to_have_title("(1) chatserver")
        expect(chat.page.locator(ICON)).to_have_attribute("href", re.compile("/icon-news.svg$"))
        if wanted:
            until(chat.page, lambda: notifications(chat.page) + notifications(other.page) != [])
            (shown,) = notifications(chat.page) + notifications(other.page)
            assert (shown["title"], shown["body"].startswith("Echo from agent: word0")) == (title, True)
        else:
            assert notifications(chat.page) + notifications(other.page) == []
            hide(chat.page, False)
            expect(chat.page).to_have_title(f"{title} · chatserver")
            expect(chat.page.locator(ICON)).to_have_attribute("href", icon or "")
            expect(other.page).to_have_title("chatserver")
            chat.until_answered()

    # The click shows the conversation in the tab that notified, whatever it shows.
    notifier = chat if notifications(chat.page) else other
    notifier.page.evaluate("history.pushState(null, '', '/'); dispatchEvent(new PopStateEvent('popstate'))")
    expect(notifier.messages).to_have_count(0)
    hide(notifier.page, False)
    notifier.page.evaluate("shown[0].click()")
    expect(notifier.page).to_have_url(re.compile(f"/c/{asked}$"))
    expect(notifier.answers).to_have_count(2)
    expect(notifier.page).to_have_title(f"{title} · chatserver")
