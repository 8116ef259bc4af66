"""Addresses, the list of conversations, their menu, long conversations, narrow screens."""

from __future__ import annotations

import re
import uuid

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import ECHO, Chat, unique
from tests.browser.conftest import Complaints, OpenContext, Server

pytestmark = pytest.mark.browser


def test_back_and_forward_open_conversations(page: Page, server: Server) -> None:
    first, second = unique("First"), unique("Second")
    server.create_conversation(first, "a", "b")
    server.create_conversation(second, "c", "d")
    chat = Chat(page).open()
    chat.link(first).click()
    expect(chat.answers).to_have_text(["b"])
    expect(chat.link(first)).to_have_attribute("aria-current", "page")
    chat.link(second).click()
    expect(chat.answers).to_have_text(["d"])
    chat.button("New conversation").click()
    expect(chat.messages).to_have_count(0)
    page.go_back()
    expect(chat.answers).to_have_text(["d"])
    expect(page).to_have_title(f"{second} · chatserver")
    page.go_back()
    expect(chat.answers).to_have_text(["b"])
    expect(chat.link(second)).not_to_have_attribute("aria-current", "page")
    page.go_forward()
    expect(chat.answers).to_have_text(["d"])
    page.reload()
    expect(chat.answers).to_have_text(["d"])


def test_back_from_a_conversation_just_created_shows_a_new_one(page: Page) -> None:
    chat = Chat(page).open().ask(unique("Begun")).until_answered()
    address = page.url
    page.go_back()
    expect(chat.messages).to_have_count(0)
    expect(chat.box).to_have_value("")
    page.go_forward()
    expect(page).to_have_url(address)
    expect(chat.messages).to_have_count(2)


def test_conversation_link_opens_in_a_new_tab(page: Page, context: BrowserContext, server: Server) -> None:
    title = unique("Tab")
    server.create_conversation(title, "a", "b")
    chat = Chat(page).open()
    with context.expect_page() as opened:
        chat.link(title).click(modifiers=["ControlOrMeta"])
    expect(Chat(opened.value).answers).to_have_text(["b"])
    expect(page).to_have_url(re.compile("/$"))


@pytest.mark.parametrize("deleted", [False, True])
def test_missing_conversation_says_so(page: Page, server: Server, complaints: Complaints, deleted: bool) -> None:
    conversation_id = str(uuid.uuid4())
    if deleted:
        conversation_id = server.create_conversation("Deleted", "a")
        server.call("DELETE", f"/conversations/{conversation_id}")
    chat = Chat(page)
    page.goto(f"/c/{conversation_id}")
    expect(chat.alert).to_contain_text("does not exist, or was deleted")
    expect(chat.box).to_be_hidden()
    chat.button("New conversation").click()
    expect(chat.box).to_be_focused()
    assert all("404" in text for text in complaints.texts)
    complaints.forgive()


def test_conversation_is_renamed_and_pinned(page: Page, server: Server) -> None:
    old, new, later = unique("Old"), unique("New"), unique("Later")
    conversation_id = server.create_conversation(old)
    server.create_conversation(later)
    chat = Chat(page).open(conversation_id)
    chat.choose(old, "Rename")
    title = page.get_by_role("textbox", name="Title")
    expect(title).to_have_value(old)
    title.fill(new)
    chat.button("Save").click()
    expect(chat.link(new)).to_be_visible()
    expect(page).to_have_title(f"{new} · chatserver")
    expect(page.get_by_role("heading", level=1)).to_have_text(new)

    chat.choose(later, "Pin")
    expect(chat.pinned.get_by_role("link")).to_have_text([later])
    expect(chat.sidebar.get_by_role("link").first).to_have_text(later)
    chat.choose(later, "Unpin")
    expect(chat.sidebar.get_by_role("heading", name="Pinned")).to_be_hidden()
    expect(chat.link(later)).to_be_visible()


def test_deleted_conversation_is_restored_by_undo(page: Page, server: Server) -> None:
    title = unique("Precious")
    conversation_id = server.create_conversation(title, "a", "b")
    chat = Chat(page).open(conversation_id)
    chat.choose(title, "Delete")
    expect(chat.link(title)).to_have_count(0)
    expect(page).to_have_url(re.compile("/$"))
    chat.button("Undo").click()
    chat.link(title).click()
    expect(chat.answers).to_have_text(["b"])


def test_archived_conversation_is_restored(page: Page, server: Server) -> None:
    title = unique("Put away")
    server.create_conversation(title, "a", "b")
    chat = Chat(page).open()
    chat.choose(title, "Archive")
    expect(chat.link(title)).to_have_count(0)
    chat.button("Archived").click()
    expect(chat.link(title)).to_be_visible()
    chat.choose(title, "Unarchive")
    expect(chat.link(title)).to_have_count(0)
    chat.button("Archived").click()
    expect(chat.link(title)).to_be_visible()


def test_menu_works_by_keyboard(page: Page, server: Server) -> None:
    title = unique("Keys")
    server.create_conversation(title)
    chat = Chat(page).open()
    options = chat.row(title).get_by_role("button", name="Options")
    options.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Pin")).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_be_hidden()
    expect(options).to_be_focused()


def test_more_conversations_load_while_scrolling(page: Page, server: Server) -> None:
    prefix = unique("Many")
    for number in range(70):
        server.create_conversation(f"{prefix} no. {number:02}")
    chat = Chat(page).open()
    links = chat.sidebar.get_by_role("link", name=prefix)
    expect(chat.link(f"{prefix} no. 69")).to_be_visible()
    assert links.count() < 70
    chat.sidebar.hover()
    for _ in range(20):
        page.mouse.wheel(0, 2000)
        if chat.link(f"{prefix} no. 00").count():
            break
        page.wait_for_function(
            "([list, count]) => list.querySelectorAll('a').length > count",
            arg=[chat.sidebar.element_handle(), chat.sidebar.get_by_role("link").count() - 1],
        )
    expect(chat.link(f"{prefix} no. 00")).to_have_count(1)
    titles = links.all_text_contents()
    assert titles == sorted(titles, reverse=True)
    assert len(titles) == 70


def test_older_messages_load_without_moving_the_view(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation("Long", *[f"turn {number:03}" for number in range(160)]))
    expect(chat.messages.last).to_be_in_viewport()
    expect(chat.messages).to_have_count(50)
    first = chat.message("turn 110")
    first.scroll_into_view_if_needed()
    expect(chat.message("turn 060")).to_have_count(1)
    expect(first).to_be_in_viewport()
    chat.messages.first.scroll_into_view_if_needed()
    expect(chat.message("turn 010")).to_have_count(1)
    chat.messages.first.scroll_into_view_if_needed()
    expect(chat.messages).to_have_count(160)
    assert [text[:8] for text in chat.messages.locator(".content").all_text_contents()] == [
        f"turn {number:03}" for number in range(160)
    ]


def test_conversation_created_elsewhere_appears(page: Page, server: Server) -> None:
    chat = Chat(page).open()
    expect(chat.send).to_be_visible()
    title = unique("Elsewhere")
    server.create_conversation(title)
    expect(chat.link(title)).to_be_visible(timeout=5000)


def test_sidebar_is_a_drawer_on_a_phone(open_context: OpenContext, server: Server) -> None:
    title = unique("Pocket")
    server.create_conversation(title, "a", "b")
    context = open_context(viewport={"width": 375, "height": 700}, has_touch=True, is_mobile=True)
    chat = Chat(context.new_page()).open()
    expect(chat.button("New conversation")).to_be_hidden()
    chat.ask("on the way").until_answered()
    expect(chat.answers).to_have_text([f"{ECHO}on the way"])

    drawer = chat.button("Conversations")
    drawer.tap()
    expect(chat.link(title)).to_be_in_viewport()
    expect(chat.button("Close")).to_be_focused()
    chat.page.keyboard.press("Escape")
    expect(chat.link(title)).to_be_hidden()
    expect(drawer).to_be_focused()
    drawer.tap()
    chat.link(title).tap()
    expect(chat.answers).to_have_text(["b"])
    expect(chat.link(title)).to_be_hidden()
    assert chat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_old_messages_are_unloaded_at_the_end(page: Page, server: Server) -> None:
    """Thousands of messages would make each new word slower. Scrolling loads them again."""
    chat = Chat(page).open(server.create_conversation("Huge", *[f"turn {number:03}" for number in range(460)]))
    while chat.messages.count() < 460:
        before = chat.messages.count()
        chat.messages.first.scroll_into_view_if_needed()
        expect(chat.messages).not_to_have_count(before)
    chat.button("Jump to the end").click()
    chat.ask("news").until_answered()
    expect(chat.message("turn 200")).to_have_count(0)
    expect(chat.answers.last).to_have_text(f"{ECHO}news")
    chat.messages.first.scroll_into_view_if_needed()
    expect(chat.message("turn 250")).to_have_count(1)


def test_back_restores_the_reading_position(page: Page, server: Server) -> None:
    title = unique("Other")
    server.create_conversation(title, "a", "b")
    chat = Chat(page).open(server.create_conversation("Long read", *[f"turn {number:03}" for number in range(120)]))
    expect(chat.messages.last).to_be_in_viewport()
    turn = chat.message("turn 080")
    turn.scroll_into_view_if_needed()
    expect(turn.locator(".content")).to_be_in_viewport()
    place = turn.bounding_box()
    assert place
    chat.link(title).click()
    expect(chat.answers).to_have_text(["b"])
    page.go_back()
    expect(turn.locator(".content")).to_be_in_viewport()
    page.wait_for_function(
        "([turn, y]) => Math.abs(turn.getBoundingClientRect().y - y) < 2", arg=[turn.element_handle(), place["y"]]
    )
    chat.link(title).click()
    expect(chat.answers).to_have_text(["b"])
    chat.link("Long read").click()
    expect(chat.message("turn 119")).to_be_in_viewport()
