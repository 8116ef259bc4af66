"""The page recovers by itself from failures, and says in time what it waits for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Request, Route, expect

from tests.browser.chat import ECHO, Chat, hide, unique, unique_word
from tests.browser.conftest import COMPANY, Complaints, Server
from tests.browser.held import Held, until
from tests.browser.people import Visit

pytestmark = pytest.mark.browser

EMPTY_PAGE = {"items": [], "hasMore": False, "nextCursor": None}
SIGNED_OUT: dict[str, Any] = {"mode": "authenticated", "actor": None, "companies": []}
SIGNED_IN: dict[str, Any] = {"mode": "authenticated", "actor": {"name": "Ada"}, "companies": [{"id": COMPANY}]}


def create_many(server: Server, title: str, numbers: Iterable[int]) -> None:
    for number in numbers:
        server.create_conversation(f"{title} no. {number:02}")


def scroll_to(chat: Chat, title: str) -> None:
    """Scroll down the list of conversations, page by page, until it shows this one."""
    links = chat.sidebar.get_by_role("link")
    for _ in range(40):
        count = links.count()
        if chat.link(title).count():
            break
        links.last.scroll_into_view_if_needed()
        expect(links).not_to_have_count(count)
    expect(chat.link(title)).to_have_count(1)


# --- modules that are loaded on demand -------------------------------------------------------------------------


def test_module_that_did_not_load_is_loaded_by_retry(page: Page, complaints: Complaints) -> None:
    page.route("**/main-more.js", lambda route: route.abort())
    chat = Chat(page).open()
    chat.box.fill("Who follows?")
    chat.send.click()
    expect(chat.alert).to_contain_text("A part of this page could not be loaded")
    page.unroute("**/main-more.js")
    chat.alert.get_by_role("button", name="Retry").click()
    chat.until_answered()
    expect(chat.answers).to_have_text([f"{ECHO}Who follows?"])
    complaints.forgive()


@pytest.mark.parametrize(
    ("url", "unfit", "told"),
    [
        pytest.param(
            "**/main-more.js",
            {"content_type": "text/javascript", "body": 'import { $newer } from "./main.js";'},
            "This page does not fit the server any more. Reload it",
            id="module",
        ),
        pytest.param("**/search?*", {"json": {}}, "Something on this page went wrong", id="answer"),
    ],
)
def test_unexpected_module_or_response_is_reported_as_a_fault_of_the_page(
    page: Page, complaints: Complaints, url: str, unfit: dict[str, Any], told: str
) -> None:
    """The console tells it, and the page does not claim that the server cannot be reached."""
    page.route(url, lambda route: route.fulfill(**unfit))
    chat = Chat(page).open()
    chat.sidebar.get_by_role("searchbox", name="Search").fill("anything")
    expect(chat.alert).to_contain_text(told)
    until(page, lambda: bool(complaints.texts))
    complaints.forgive()


def test_start_without_a_server_is_no_fault_of_the_page(page: Page, complaints: Complaints) -> None:
    page.route("**/api/session", lambda route: route.abort())
    page.goto("/")
    expect(Chat(page).alert).to_contain_text("The server cannot be reached")
    page.evaluate("() => new Promise((done) => setTimeout(done))")  # Uncaught errors are reported before.
    assert not any("cannot be reached" in text for text in complaints.texts)
    complaints.forgive()


# --- lists ------------------------------------------------------------------------------------------------------


def test_list_has_no_gap_after_many_new_conversations(page: Page, server: Server) -> None:
    title = unique("Hole")
    create_many(server, title, range(35))
    chat = Chat(page).open()
    expect(chat.link(f"{title} no. 34")).to_be_visible()
    hide(page, True)
    create_many(server, title, range(35, 80))
    hide(page, False)
    expect(chat.link(f"{title} no. 79")).to_be_visible()
    scroll_to(chat, f"{title} no. 00")
    titles = chat.sidebar.get_by_role("link", name=title).all_text_contents()
    assert titles == [f"{title} no. {number:02}" for number in reversed(range(80))]


def test_loaded_conversations_stay_after_a_few_new_ones(page: Page, server: Server) -> None:
    title = unique("Kept")
    create_many(server, title, range(65))
    chat = Chat(page).open()
    scroll_to(chat, f"{title} no. 00")
    create_many(server, title, range(65, 67))
    expect(chat.link(f"{title} no. 66")).to_have_count(1)
    titles = chat.sidebar.get_by_role("link", name=title).all_text_contents()
    assert titles == [f"{title} no. {number:02}" for number in reversed(range(67))]


UNTIL_IN_VIEW = """(element) => new Promise((seen) => {
  new IntersectionObserver((entries) => entries.at(-1).isIntersecting && seen()).observe(element);
})"""


def test_list_is_not_continued_with_the_cursor_of_another_list(page: Page, server: Server) -> None:
    create_many(server, unique("Two lists"), range(35))
    chat = Chat(page).open()
    expect(chat.sidebar.get_by_role("link")).to_have_count(30)
    held = Held(page, "**/conversations?*archived=true*")
    chat.button("Archived").click()
    held.until(1)
    chat.sidebar.hover()
    page.mouse.wheel(0, 3000)
    # The page's own observer was created before this one, so it is told first that the end is in view.
    chat.sidebar.locator("#conversations .edge").evaluate(UNTIL_IN_VIEW)
    held.let_go()
    expect(chat.sidebar.get_by_text("Nothing is archived.")).to_be_visible()
    assert not any("cursor" in url for url in held.urls)


def test_list_that_is_not_loaded_yet_is_not_called_empty(page: Page, complaints: Complaints) -> None:
    held = Held(page, "**/conversations?*")
    chat = Chat(page).open()
    held.until(1)
    nothing = chat.sidebar.get_by_text("Nothing here yet.")
    expect(nothing).to_be_hidden()
    page.route("**/conversations?*", lambda route: route.fulfill(json=EMPTY_PAGE))
    held.lose()
    expect(nothing).to_be_visible()
    complaints.forgive()


def test_more_pressed_twice_adds_a_page_once(page: Page, server: Server) -> None:
    word = unique_word()
    create_many(server, word, range(65))
    chat = Chat(page).open()
    chat.sidebar.get_by_role("searchbox", name="Search").fill(word)
    expect(chat.sidebar.get_by_role("status")).to_have_text("30+ results in 30 conversations")
    held = Held(page, "**/search?*cursor=*")
    under_way: set[Request] = set()

    def begin(request: Request) -> None:
        under_way.add(request)

    def end(request: Request) -> None:
        under_way.discard(request)

    page.on("request", begin)
    page.on("requestfinished", end)
    page.on("requestfailed", end)
    chat.button("More").evaluate("(more) => { more.click(); more.click(); }")
    held.until(1)
    held.let_go()
    expect(chat.sidebar.get_by_role("status")).to_have_text("60+ results in 60 conversations")
    until(page, lambda: not any("cursor=" in request.url for request in under_way))
    expect(chat.sidebar.get_by_role("link")).to_have_count(60)
    # The next page comes after everything that the two presses requested.
    chat.button("More").click()
    expect(chat.sidebar.get_by_role("status")).to_have_text("65 results in 65 conversations")
    expect(chat.sidebar.get_by_role("link")).to_have_count(65)


def test_names_and_bookmarks_are_loaded_when_the_server_is_back(
    page: Page, server: Server, complaints: Complaints
) -> None:
    name = unique("Ada")
    conversation_id = server.create_conversation("Stars", "one", "two", agent_id=server.create_agent(name, "slow"))
    message_id = server.messages(conversation_id)[1]["id"]
    server.call("PUT", f"/conversations/{conversation_id}/messages/{message_id}/bookmark")
    lists = "**/{agents,bookmarks}?*"
    held = Held(page, lists)
    chat = Chat(page).open(conversation_id)
    held.until(2)
    held.lose()
    until(page, lambda: len(held.urls) >= 4)
    expect(chat.alert).to_have_count(0)
    page.unroute(lists)
    expect(chat.agent).to_have_text(name)
    expect(chat.messages.last.get_by_role("button", name="Bookmark")).to_have_attribute("aria-pressed", "true")
    complaints.forgive()


def test_bookmarks_are_loaded_after_the_messages(page: Page, server: Server) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/bookmarks?" in request.url else None)
    held = Held(page, "**/messages?*")
    chat = Chat(page)
    title = unique("First things first")
    page.goto(f"/c/{server.create_conversation(title, 'one', 'two')}")
    held.until(1)
    # The first poll, which shows the conversations and tries again what failed, does not load the bookmarks either.
    expect(chat.link(title)).to_be_visible()
    page.evaluate("() => new Promise((done) => setTimeout(done))")
    assert asked == []
    held.let_go()
    expect(chat.answers).to_have_text(["two"])
    until(page, lambda: len(asked) == 1)


# --- the connection ---------------------------------------------------------------------------------------------

NOTE_TIMES = """
const { fetch } = window;
window.fetch = (...request) => fetch(...request).catch((error) => {
  window.failedAt ??= performance.now();
  throw error;
});
addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  window.saidAt ??= performance.now();
}).observe(document.getElementById("connection"), {childList: true, characterData: true, subtree: true}));
"""


def test_lost_connection_is_told_after_a_second(page: Page, complaints: Complaints) -> None:
    """The text appears only then, because screen readers read a status region as soon as it has text."""
    page.add_init_script(NOTE_TIMES)
    Chat(page).open()
    page.route("**/conversations?*", lambda route: route.abort())
    expect(page.get_by_text("Reconnecting …")).to_be_visible()
    assert page.evaluate("saidAt - failedAt") > 900
    page.unroute("**/conversations?*")
    expect(page.get_by_text("Reconnecting …")).to_have_count(0)
    complaints.forgive()


HOLD_ALL_SLOTS = """async () => {
  window.free = await Promise.all([0, 1, 2, 3].map((slot) => new Promise((held) => {
    navigator.locks.request(`chatserver stream ${slot}`, () => new Promise((free) => held(free)));
  })));
}"""
LOCKS = """async () => {
  const { held, pending } = await navigator.locks.query();
  return [held, pending].map((all) => all.filter(({name}) => name.startsWith("chatserver stream")).length);
}"""


@pytest.mark.parametrize("slot", range(4))
def test_reader_takes_the_connection_that_is_free_first(context: BrowserContext, slot: int) -> None:
    other = context.new_page()
    Chat(other).open()
    other.evaluate(HOLD_ALL_SLOTS)
    page = context.new_page()
    chat = Chat(page).open()
    chat.box.fill("May I?")
    chat.send.click()
    until(page, lambda: page.evaluate(LOCKS)[1] > 0)
    expect(chat.answers).to_have_text([""])
    other.evaluate("(slot) => free[slot]()", slot)
    chat.until_answered()
    until(page, lambda: page.evaluate(LOCKS) == [3, 0])


# --- signing in and out -----------------------------------------------------------------------------------------


def test_sign_in_that_did_not_load_shows_error_and_retry(page: Page, complaints: Complaints) -> None:
    page.route("**/api/session", lambda route: route.fulfill(json=SIGNED_OUT))
    page.route("**/main-more.js", lambda route: route.abort())
    page.goto("/")
    alert = Chat(page).alert
    expect(alert).to_be_visible()
    page.unroute("**/main-more.js")
    alert.get_by_role("button", name="Retry").click()
    expect(Visit(page).token).to_be_visible()
    complaints.forgive()


def test_sign_out_removes_all_drafts(page: Page, server: Server) -> None:
    def session(route: Route) -> None:
        if route.request.method == "DELETE":
            route.fulfill(status=204)
        else:
            route.fulfill(json=SIGNED_IN)

    page.route("**/api/session", session)
    chat = Visit(page)
    chat.open(server.create_conversation("Left"))
    chat.box.fill("for all tabs")
    chat.button("New conversation").click()
    chat.box.fill("for this one")
    page.evaluate("localStorage.other = sessionStorage.other = 'of another page'")
    with page.expect_navigation():
        chat.choose_account("Sign out")
    expect(chat.box).to_be_enabled()
    expect(chat.box).to_have_value("")
    # Who is here is known again: the made-up session says so.
    keys = ["chatserver person", "other"]
    assert page.evaluate("[localStorage, sessionStorage].map((one) => Object.keys(one).sort())") == [keys, keys]


def test_draft_of_a_new_conversation_stays_with_its_company(page: Page) -> None:
    other = "00000000-0000-4000-8000-00000000000d"
    session = SIGNED_IN | {"companies": [{"id": COMPANY, "name": "Ours"}, {"id": other, "name": "Theirs"}]}
    page.route("**/api/session", lambda route: route.fulfill(json=session))
    chat = Visit(page)
    chat.open()
    chat.box.fill("ours")
    for chosen, draft in (("Theirs", ""), ("Ours", "ours")):
        with page.expect_navigation():
            chat.choose_company(chosen)
        expect(chat.account).to_contain_text(chosen)
        expect(chat.box).to_have_value(draft)


# --- navigation ------------------------------------------------------------------------------------------


def test_back_restores_the_reading_position_instead_of_the_linked_message(page: Page, server: Server) -> None:
    title = unique("Other")
    server.create_conversation(title, "a", "b")
    conversation_id = server.create_conversation("Hits", *[f"turn {number:03}" for number in range(120)])
    message_id = server.messages(conversation_id)[80]["id"]
    page.goto(f"/c/{conversation_id}#m-{message_id}")
    chat = Chat(page)
    expect(chat.message("turn 080")).to_be_in_viewport()
    expect(page.locator(".revealed")).to_have_count(1)
    chat.message("turn 100").scroll_into_view_if_needed()
    expect(chat.message("turn 100")).to_be_in_viewport()
    chat.link(title).click()
    expect(chat.answers).to_have_text(["b"])
    page.go_back()
    expect(chat.message("turn 100")).to_be_in_viewport()
    # The next poll is sent after everything that opening the conversation has done.
    with page.expect_request_finished(lambda request: request.url.endswith(f"/api/conversations/{conversation_id}")):
        pass
    expect(chat.message("turn 100")).to_be_in_viewport()
    expect(page.locator(".revealed")).to_have_count(0)


def test_only_one_button_has_its_menu_open(page: Page, server: Server) -> None:
    first, second = unique("First"), unique("Second")
    for title in (first, second):
        server.create_conversation(title)
    chat = Chat(page).open()
    buttons = [chat.row(title).get_by_role("button", name="Options") for title in (first, second)]
    buttons[0].focus()
    page.keyboard.press("Enter")
    expect(buttons[0]).to_have_attribute("aria-expanded", "true")
    buttons[1].evaluate("(button) => button.click()")
    expect(buttons[1]).to_have_attribute("aria-expanded", "true")
    expect(buttons[0]).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Escape")
    expect(buttons[1]).to_have_attribute("aria-expanded", "false")
    buttons[1].focus()
    page.keyboard.press("Enter")
    expect(buttons[1]).to_have_attribute("aria-expanded", "true")
    expect(page.locator("[role=menu]")).to_have_count(1)


def test_menu_stays_open_while_its_row_moves(page: Page, server: Server) -> None:
    title, other = unique("Below"), unique("Above")
    below = server.create_conversation(title)
    server.create_conversation(other)
    chat = Chat(page).open()
    chat.row(title).hover()
    chat.row(title).get_by_role("button", name="Options").click()
    expect(page.get_by_role("menuitem").first).to_be_focused()
    server.call("POST", f"/conversations/{below}/messages", {"role": "user", "content": "it goes up"})
    expect(chat.sidebar.get_by_role("link").filter(has_text=re.compile("Below|Above")).first).to_have_text(title)
    expect(page.get_by_role("menuitem").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(chat.row(title).get_by_role("button", name="Options")).to_have_attribute("aria-expanded", "false")
