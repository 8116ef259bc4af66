"""Text that has not reached the server yet is neither lost nor stored twice."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect

from tests.browser.chat import ECHO, Chat, unique, unique_word
from tests.browser.conftest import COMPANY, Complaints, Server
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


def titles(server: Server, word: str) -> list[str]:
    items = server.call("GET", f"/companies/{COMPANY}/conversations?q={word.rpartition(' ')[2]}")["items"]
    return [conversation["title"] for conversation in items]


def until_polled(page: Page) -> None:
    """Wait until the page has looked twice whether its conversation has changed."""
    for _ in range(2):
        with page.expect_response(lambda response: re.search(r"/api/conversations/[^/]+$", response.url) is not None):
            pass


@pytest.mark.parametrize("stored_all_the_same", [False, True], ids=["request-lost", "answer-lost"])
def test_message_is_stored_once_after_a_reload_while_sending(
    page: Page, server: Server, stored_all_the_same: bool
) -> None:
    chat = Chat(page).open(server.create_conversation("Reloaded"))
    keys = note_keys(page)
    held = Held(page, "**/messages", "POST", arrives=stored_all_the_same)
    chat.box.fill("only once")
    chat.send.click()
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
    chat.send.click()
    held.until(1)
    held.let_later_ones_go()
    page.reload()
    chat.until_answered()
    expect(chat.questions).to_have_text(["the very first"])
    expect(chat.box).to_have_value("")
    assert len(server.messages(chat.conversation_id)) == 2

    chat.button("New conversation").click()
    expect(chat.messages).to_have_count(0)


def test_first_message_is_shown_once_while_it_is_slow_and_when_it_is_refused(
    page: Page, server: Server, complaints: Complaints
) -> None:
    """Also after a poll has loaded the conversation that it created, after leaving, and after a reload."""
    chat = Chat(page).open()
    title = unique("Shown")
    held = Held(page, "**/messages", "POST")
    chat.box.fill(title)
    with page.expect_response("**/messages?*"):
        chat.send.click()
        held.until(1)
    until_polled(page)
    expect(chat.questions).to_have_text([title])
    expect(chat.alert).to_have_count(0)
    held.lose()
    expect(chat.alert).to_contain_text("Not sent")
    until_polled(page)
    expect(chat.questions).to_have_text([title])
    expect(chat.alert).to_have_count(1)

    for way in ("reload", "return"):
        if way == "reload":
            page.reload()
        else:
            chat.button("New conversation").click()
            expect(chat.messages).to_have_count(0)
            page.go_back()
        expect(chat.alert).to_contain_text("Not sent")
        until_polled(page)
        expect(chat.questions).to_have_text([title])
        expect(chat.alert).to_have_count(1)
    page.unroute("**/messages")
    chat.alert.get_by_role("button", name="Retry").click()
    chat.until_answered()
    expect(chat.questions).to_have_text([title])
    expect(chat.alert).to_have_count(0)
    assert len(server.messages(chat.conversation_id)) == 2
    assert len(titles(server, title)) == 1
    complaints.forgive()


def test_messages_sent_quickly_are_stored_in_order(page: Page, server: Server) -> None:
    """Also if the first of them creates the conversation, and is slow."""
    chat = Chat(page).open()
    held = Held(page, "**/conversations", "POST")
    sent = [unique_word() for _ in range(3)]
    for word in sent:
        chat.box.fill(word)
        chat.box.press("Enter")
    held.until(1)
    expect(chat.questions).to_have_text(sent)
    held.let_go()
    expect(chat.answers).to_have_text([f"{ECHO}{word}" for word in sent])
    chat.until_answered()
    assert [
        message["content"] for message in server.messages(chat.conversation_id) if message["role"] == "user"
    ] == sent
    assert titles(server, sent[0]) == [sent[0]]


def test_failed_message_is_sent_after_a_reload(page: Page, server: Server, complaints: Complaints) -> None:
    chat = Chat(page).open(server.create_conversation("Failed"))
    Held(page, "**/messages", "POST").lose()
    chat.box.fill("once more")
    chat.send.click()
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
    chat.send.click()
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
    chat.send.click()
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
    chat.send.click()
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
    second.send.click()
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
