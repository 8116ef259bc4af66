"""Text that has not reached the server yet is neither lost nor stored twice."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect

from tests.browser.chat import ECHO, Chat
from tests.browser.conftest import Complaints, Server
from tests.browser.held import Held

pytestmark = pytest.mark.browser


def note_keys(page: Page) -> list[str]:
    """The Idempotency-Keys of all messages that the page sends from now on."""
    keys: list[str] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/messages"):
            keys.append(request.headers["idempotency-key"])

    page.on("request", note)
    return keys


@pytest.mark.parametrize("stored_all_the_same", [False, True], ids=["request-lost", "answer-lost"])
def test_message_is_stored_once_after_a_reload_while_sending(
    page: Page, server: Server, stored_all_the_same: bool
) -> None:
    chat = Chat(page).open(server.create_conversation("Reloaded"))
    keys = note_keys(page)
    held = Held(page, "**/messages", "POST", arrives=stored_all_the_same)
    chat.box.fill("only once")
    chat.button("Send").click()
    held.until(1)
    assert len(server.messages(chat.conversation_id)) == stored_all_the_same
    held.let_later_ones_go()
    page.reload()
    chat.until_answered()
    expect(chat.questions).to_have_text(["only once"])
    expect(chat.answers).to_have_text([f"{ECHO}only once"])
    expect(chat.box).to_have_value("")
    assert len(server.messages(chat.conversation_id)) == 2
    assert len(keys) == 2
    assert len(set(keys)) == 1

    page.reload()
    chat.until_answered()
    expect(chat.questions).to_have_text(["only once"])
    assert len(keys) == 2


def test_first_message_is_stored_once_after_a_reload_while_creating(page: Page, server: Server) -> None:
    chat = Chat(page).open()
    held = Held(page, "**/conversations", "POST")
    chat.box.fill("the very first")
    chat.button("Send").click()
    held.until(1)
    held.let_later_ones_go()
    page.reload()
    chat.until_answered()
    expect(chat.questions).to_have_text(["the very first"])
    expect(chat.box).to_have_value("")
    assert len(server.messages(chat.conversation_id)) == 2

    chat.button("New conversation").click()
    expect(chat.messages).to_have_count(0)


def test_failed_message_is_sent_after_a_reload(page: Page, server: Server, complaints: Complaints) -> None:
    chat = Chat(page).open(server.create_conversation("Failed"))
    Held(page, "**/messages", "POST").lose()
    chat.box.fill("once more")
    chat.button("Send").click()
    expect(chat.alert).to_contain_text("Not sent")
    page.unroute("**/messages")
    page.reload()
    chat.until_answered()
    expect(chat.questions).to_have_text(["once more"])
    expect(chat.alert).to_have_count(0)
    assert len(server.messages(chat.conversation_id)) == 2
    complaints.forgive()


def test_failed_send_keeps_the_text_typed_since(page: Page, server: Server, complaints: Complaints) -> None:
    chat = Chat(page).open(server.create_conversation("Both"))
    held = Held(page, "**/messages", "POST")
    chat.box.fill("first")
    chat.button("Send").click()
    chat.box.press_sequentially("second")
    held.lose()
    expect(chat.alert).to_contain_text("Not sent")
    expect(chat.questions).to_have_text(["first"])
    expect(chat.box).to_have_value("second")
    expect(chat.box).to_be_focused()

    page.unroute("**/messages")
    chat.alert.get_by_role("button", name="Retry").click()
    chat.until_answered()
    expect(chat.questions).to_have_text(["first"])
    expect(chat.answers).to_have_text([f"{ECHO}first"])
    expect(chat.alert).to_have_count(0)
    expect(chat.box).to_have_value("second")
    assert len(server.messages(chat.conversation_id)) == 2
    complaints.forgive()


def test_failed_message_can_be_taken_back(page: Page, server: Server, complaints: Complaints) -> None:
    chat = Chat(page).open(server.create_conversation("Back"))
    held = Held(page, "**/messages", "POST")
    chat.box.fill("first")
    chat.button("Send").click()
    chat.box.press_sequentially("second")
    held.lose()
    chat.alert.get_by_role("button", name="Take back").click()
    expect(chat.messages).to_have_count(0)
    expect(chat.alert).to_have_count(0)
    expect(chat.box).to_have_value(re.compile("first"))
    expect(chat.box).to_have_value(re.compile("second"))
    expect(chat.box).to_be_focused()
    both = chat.box.input_value()

    page.unroute("**/messages")
    page.reload()
    expect(chat.box).to_have_value(both)
    expect(chat.messages).to_have_count(0)
    assert server.messages(chat.conversation_id) == []
    complaints.forgive()


def test_sent_text_is_removed_from_the_draft(page: Page, server: Server) -> None:
    server.create_conversation("Another")
    chat = Chat(page).open(server.create_conversation("Slow to send"))
    held = Held(page, "**/messages", "POST")
    chat.box.fill("on its way")
    chat.button("Send").click()
    held.until(1)
    chat.link("Another").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Another")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Slow to send")
    expect(chat.box).to_have_value("")
    held.let_go()
    chat.until_answered()
    expect(chat.questions).to_have_text(["on its way"])
    expect(chat.box).to_have_value("")
    assert len(server.messages(chat.conversation_id)) == 2


def test_each_tab_has_its_own_draft_of_a_new_conversation(context: BrowserContext) -> None:
    first, second = (Chat(context.new_page()).open() for _ in range(2))
    first.box.fill("mine")
    expect(second.box).to_have_value("")
    second.box.fill("yours")
    for chat, text in ((first, "mine"), (second, "yours")):
        chat.page.reload()
        expect(chat.box).to_have_value(text)
    second.button("Send").click()
    second.until_answered()
    first.page.reload()
    expect(first.box).to_have_value("mine")


def test_unsaved_edit_goes_into_the_draft_when_its_message_is_gone(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("Superseded", "one", "two", "three", "four")
    chat = Chat(page).open(conversation_id)
    chat.box.fill("a draft")
    chat.button("Edit").last.click()
    page.get_by_role("textbox", name="Edit message").fill("better words")
    first = server.messages(conversation_id)[0]["id"]
    server.call("POST", f"/conversations/{conversation_id}/messages/{first}/rewind")
    expect(chat.messages).to_have_count(1)
    expect(chat.alert).to_contain_text("Your words are below")
    expect(chat.box).to_have_value(re.compile("better words"))
    expect(chat.box).to_have_value(re.compile("a draft"))
    expect(chat.box).to_be_focused()
