"""The focus after each action is where the next key belongs, and never nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import ECHO, Chat
from tests.browser.conftest import Server

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("path", ["/", "/c/{}", "/c/{}#m-{}"], ids=["new", "conversation", "message"])
def test_skip_link_focuses_the_text_box(page: Page, server: Server, path: str) -> None:
    conversation_id = server.create_conversation("Skipped", "a", "b")
    address = path.format(conversation_id, server.messages(conversation_id)[0]["id"])
    chat = Chat(page)
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).not_to_be_empty()
    entries = page.evaluate("history.length")
    skip = page.get_by_role("link", name="Skip to writing")
    skip.focus()
    page.keyboard.press("Enter")
    expect(chat.box).to_be_focused()
    page.keyboard.type("here")
    expect(chat.box).to_have_value("here")
    expect(page).to_have_url(re.compile(f"{re.escape(address)}$"))
    expect(chat.messages).to_have_count(0 if path == "/" else 2)
    assert page.evaluate("history.length") == entries


def test_focus_after_regenerate(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation("Again", "one", "two"))
    chat.button("Regenerate").focus()
    page.keyboard.press("Enter")
    expect(chat.answers).to_have_text([f"{ECHO}one"])
    chat.until_answered()
    expect(chat.box).to_be_focused()


def test_focus_after_branch(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("Trunk", "one", "two", "three", "four")
    chat = Chat(page).open(conversation_id)
    chat.button("Branch").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page).not_to_have_url(re.compile(conversation_id))
    expect(chat.messages).to_have_count(2)
    expect(chat.box).to_be_focused()


@pytest.mark.parametrize("end", ["saved", "cancelled", "escaped"])
@pytest.mark.parametrize("place", ["header", "row", "other-row"])
def test_focus_after_rename(page: Page, server: Server, end: str, place: str) -> None:
    title, opened = f"Before {end} {place}", f"Opened {end} {place}"
    other = server.create_conversation(title)
    chat = Chat(page).open(server.create_conversation(opened) if place == "other-row" else other)
    options = chat.options if place == "header" else chat.row(title).get_by_role("button", name="Options")
    options.focus()
    page.keyboard.press("Enter")
    page.get_by_role("menuitem", name="Rename").press("Enter")
    box = page.get_by_role("textbox", name="Title")
    expect(box).to_be_focused()
    box.fill(f"After {end} {place}")
    if end == "saved":
        page.keyboard.press("Enter")
        title = f"After {end} {place}"
        expect(chat.link(title)).to_be_visible()
        if place != "header":
            options = chat.row(title).get_by_role("button", name="Options")
    elif end == "cancelled":
        chat.button("Cancel").click()
    else:
        page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(options).to_be_focused()


def press_escape(page: Page) -> None:
    page.keyboard.press("Escape")


def press_cancel(page: Page) -> None:
    Chat(page).button("Cancel").click()


@pytest.mark.parametrize("leave", [press_escape, press_cancel])
def test_focus_after_cancelled_edit(page: Page, server: Server, leave: Callable[[Page], None]) -> None:
    chat = Chat(page).open(server.create_conversation("Given up", "one", "two"))
    chat.button("Edit").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Edit message")).to_be_focused()
    leave(page)
    expect(chat.button("Edit")).to_be_focused()


def test_focus_after_saved_edit(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation("Saved", "one", "two"))
    chat.button("Edit").focus()
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="Edit message").fill("better")
    page.keyboard.press("Enter")
    chat.until_answered()
    expect(chat.answers).to_have_text([f"{ECHO}better"])
    expect(page.locator("body")).not_to_be_focused()


def test_editor_is_loaded_at_the_first_pointer_move(page: Page, server: Server) -> None:
    """So nothing that is typed after the click on Edit waits for the network."""
    chat = Chat(page).open(server.create_conversation("At hand", "one", "two"))
    with page.expect_request_finished(lambda request: request.url.endswith("/main-more.js")):
        chat.messages.first.hover()
    page.wait_for_load_state("networkidle")
    page.route("**/static/**", lambda route: route.abort())
    chat.button("Edit").click()
    expect(page.get_by_role("textbox", name="Edit message")).to_be_focused()
    page.keyboard.type(" and more")
    expect(page.get_by_role("textbox", name="Edit message")).to_have_value("one and more")


@pytest.mark.parametrize("place", ["header", "row"])
def test_undo_of_delete_opens_the_conversation_that_was_open(page: Page, server: Server, place: str) -> None:
    title = f"Deleted from {place}"
    conversation_id = server.create_conversation(title, "a", "b")
    chat = Chat(page).open(conversation_id)
    chat.box.fill("a draft")
    if place == "header":
        chat.options.click()
        page.get_by_role("menuitem", name="Delete").click()
    else:
        chat.choose(title, "Delete")
    expect(page).to_have_url(re.compile("/$"))
    expect(chat.box).to_have_value("")
    expect(page.locator("body")).not_to_be_focused()
    chat.button("Undo").click()
    expect(page).to_have_url(re.compile(f"/c/{conversation_id}$"))
    expect(chat.answers).to_have_text(["b"])
    expect(chat.box).to_have_value("a draft")
    expect(chat.box).to_be_focused()


@pytest.mark.parametrize("place", ["header", "row"])
def test_archived_conversation_stays_open(page: Page, server: Server, place: str) -> None:
    title = f"Archived from {place}"
    conversation_id = server.create_conversation(title, "a", "b")
    chat = Chat(page).open(conversation_id)

    def still_open() -> None:
        expect(page).to_have_url(re.compile(f"/c/{conversation_id}$"))
        expect(chat.answers).to_have_text(["b"])
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.locator("body")).not_to_be_focused()

    if place == "header":
        chat.options.click()
        page.get_by_role("menuitem", name="Archive").click()
    else:
        chat.choose(title, "Archive")
    expect(chat.link(title)).to_have_count(0)
    expect(chat.button("Undo")).to_be_visible()
    still_open()
    chat.options.click()
    page.get_by_role("menuitem", name="Unarchive").click()
    expect(chat.link(title)).to_be_visible()
    still_open()


def test_answer_without_a_question_cannot_be_regenerated(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("Greeting")
    fields = {"role": "assistant", "content": "How can I help?"}
    server.call("POST", f"/conversations/{conversation_id}/messages", fields)
    chat = Chat(page).open(conversation_id)
    expect(chat.answers).to_have_text(["How can I help?"])
    expect(chat.main.get_by_role("button", name="Copy", exact=True)).to_have_count(1)
    expect(chat.button("Regenerate")).to_have_count(0)
    chat.ask("Like this").until_answered()
    expect(chat.button("Regenerate")).to_have_count(1)


def test_focus_after_retry(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation("Unanswered", "Hello?"))
    chat.button("Retry").focus()
    page.keyboard.press("Enter")
    chat.until_answered()
    expect(chat.box).to_be_focused()


@pytest.mark.parametrize("action", ["Archive", "Delete"])
def test_focus_after_undo_of(page: Page, server: Server, action: str) -> None:
    title = f"{action} undone"
    server.create_conversation(title)
    chat = Chat(page).open(server.create_conversation("Beside"))
    chat.choose(title, action)
    expect(chat.button("Undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(chat.link(title)).to_be_visible()
    expect(chat.box).to_be_focused()


def test_focus_stays_while_others_change_the_conversation(page: Page, server: Server) -> None:
    """Buttons are made anew when what they say has changed, and only then."""
    server.create_agent("Other", "slow")
    conversation_id = server.create_conversation("Shared", agent_id=server.create_agent("Steady", "acting"))
    chat = Chat(page).open(conversation_id).ask("Well?").until_answered()
    chat.button("Regenerate").click()
    expect(chat.answers).to_have_text(["Answer 2 to Well?"])
    chat.until_answered()
    answer = chat.messages.nth(1)
    details = answer.get_by_role("button", name=re.compile("^Details, "))
    previous = answer.get_by_role("button", name="Previous version")
    chooser = page.get_by_role("menu", name="Answer with another agent")

    def somebody_writes(text: str) -> None:
        server.call("POST", f"/conversations/{conversation_id}/messages", {"role": "user", "content": text})
        expect(chat.questions.last).to_have_text(text)

    chat.button("Answer with another agent").focus()
    page.keyboard.press("Enter")
    expect(chooser).to_be_visible()
    somebody_writes("First")  # Now there is no such button any more.
    expect(chat.button("Regenerate")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(chooser).to_have_count(0)
    expect(chat.box).to_be_focused()

    details.focus()
    page.keyboard.press("Enter")
    somebody_writes("Second")
    expect(details).to_be_focused()
    expect(details).to_have_attribute("aria-expanded", "true")
    previous.focus()
    somebody_writes("Third")
    expect(previous).to_be_focused()

    chat.ask("And now?").until_answered()
    chat.button("Regenerate").focus()
    somebody_writes("Fourth")
    expect(chat.button("Regenerate")).to_have_count(0)
    expect(chat.messages.nth(-2).get_by_role("button", name="Copy", exact=True)).to_be_focused()
