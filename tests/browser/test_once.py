"""An action done twice happens once, and an interrupted one resumes where it was."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import ECHO, Chat, hide, unique_word, words
from tests.browser.conftest import COMPANY, Complaints, Server
from tests.browser.held import Held, until

pytestmark = pytest.mark.browser


def titles(server: Server, word: str) -> list[str]:
    items = server.call("GET", f"/companies/{COMPANY}/conversations?q={word}")["items"]
    return [conversation["title"] for conversation in items]


def test_first_message_creates_one_conversation(page: Page, server: Server) -> None:
    """Even if another new conversation is opened while the first is being created."""
    word = unique_word()
    chat = Chat(page).open()
    held = Held(page, "**/conversations", "POST")
    chat.box.fill(word)
    chat.send.click()
    held.until(1)
    chat.button("New conversation").click()
    expect(chat.box).to_have_value("")
    held.let_go()
    expect(chat.link(word)).to_be_visible()
    chat.link(word).click()
    chat.until_answered()
    expect(chat.questions).to_have_text([word])
    assert titles(server, word) == [word]


def test_same_text_sent_again_is_a_second_message(page: Page, server: Server, complaints: Complaints) -> None:
    """Even if sending failed and the last message that this page knew was superseded elsewhere."""
    conversation_id = server.create_conversation("Again", "go on", "first", "and then?", "second")
    first = server.messages(conversation_id)[0]["id"]
    chat = Chat(page).open(conversation_id)
    expect(chat.messages).to_have_count(4)
    page.route("**/messages", lambda route: route.abort(), times=1)
    chat.box.fill("go on")
    chat.send.click()
    expect(chat.alert).to_contain_text("Not sent")
    server.call("POST", f"/conversations/{conversation_id}/messages/{first}/rewind")
    expect(chat.answers).to_have_count(0)
    expect(chat.questions).to_have_text(["go on", "go on"])
    chat.alert.get_by_role("button", name="Retry").click()
    chat.until_answered()
    stored = [message["content"] for message in server.messages(conversation_id)]
    assert stored == ["go on", "go on", f"{ECHO}go on"]
    complaints.forgive()


def test_unsent_message_is_sent_when_the_server_is_back(page: Page, server: Server, complaints: Complaints) -> None:
    """Each reload tries again; the last one reaches the server."""
    conversation_id = server.create_conversation("Patient")
    chat = Chat(page).open(conversation_id)
    page.route("**/messages", lambda route: route.abort())
    chat.box.fill("still here")
    chat.send.click()
    expect(chat.alert).to_contain_text("Not sent")
    page.route("**/messages?*", lambda route: route.fulfill(status=500, json={"error": "Internal server error"}))
    page.reload()
    expect(chat.main.get_by_role("alert")).to_contain_text("Internal server error")
    # The agents, which come later, do not hide the error.
    with page.expect_response("**/agents?*"):
        page.reload()
    expect(chat.main.get_by_role("alert")).to_contain_text("Internal server error")
    page.unroute("**/messages?*")
    page.unroute("**/messages")
    chat.until_answered()
    expect(chat.questions).to_have_text(["still here"])
    assert len(server.messages(conversation_id)) == 2
    complaints.forgive()


def test_page_works_with_tampered_storage(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("Tampered", "one", "two")
    page.add_init_script(f"sessionStorage.setItem('chatserver unsent {conversation_id}', '{{not json')")
    chat = Chat(page).open(conversation_id)
    expect(chat.messages).to_have_count(2)
    chat.ask("three").until_answered()
    expect(chat.questions).to_have_text(["one", "three"])


def test_bookmark_pressed_twice_is_set_once(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("Starred", "one", "two")
    message_id = server.messages(conversation_id)[1]["id"]
    chat = Chat(page).open(conversation_id)
    held = Held(page, "**/bookmark", "PUT")
    star = chat.messages.last.get_by_role("button", name="Bookmark")
    star.dblclick()
    held.until(1)
    held.let_go()
    expect(star).to_have_attribute("aria-pressed", "true")
    items = server.call("GET", f"/companies/{COMPANY}/bookmarks")["items"]
    assert [item["message"]["id"] for item in items].count(message_id) == 1
    assert len(held.urls) == 1


def test_branch_pressed_twice_creates_one_branch(page: Page, server: Server) -> None:
    word = unique_word()
    original = server.create_conversation(word, "one", "two")
    chat = Chat(page).open(original)
    held = Held(page, "**/branch", "POST")
    chat.button("Branch").last.dblclick()
    held.until(1)
    held.let_go()
    expect(page).not_to_have_url(re.compile(original))
    assert titles(server, word) == [word, word]


def test_tab_hidden_twice_resumes_the_answer(page: Page, server: Server) -> None:
    agent = server.create_agent("Slow", "slow")
    chat = Chat(page).open(server.create_conversation("Blinking", agent_id=agent)).ask(words(120))
    expect(chat.answers).to_contain_text("word5 ")
    held = Held(page, "**/messages?*")
    hide(page, True)
    hide(page, False)
    held.until(1)
    hide(page, True)
    with page.expect_request("**/stream?*") as again:
        held.let_go()
        hide(page, False)
    assert "lastEventId=" in again.value.url
    chat.until_answered()
    assert chat.answers.text_content() == ECHO + words(120)


def test_scrolled_view_stays_when_the_message_is_stored(page: Page, server: Server) -> None:
    turns = [f"turn {number} " + "and more " * 40 for number in range(30)]
    chat = Chat(page).open(server.create_conversation("Upward", *turns))
    expect(chat.messages.last).to_be_in_viewport()
    held = Held(page, "**/messages", "POST")
    chat.box.fill("one more")
    chat.send.click()
    held.until(1)
    turn = chat.message("turn 20")
    turn.scroll_into_view_if_needed()
    expect(turn.locator(".content")).to_be_in_viewport()
    held.let_go()
    until(page, lambda: "Echo from agent: one more" in (chat.answers.last.text_content() or ""))
    expect(turn.locator(".content")).to_be_in_viewport()


def test_unsaved_edit_goes_into_the_draft_when_the_conversation_is_left(page: Page, server: Server) -> None:
    first, other = server.create_conversation("Edited here", "one", "two"), server.create_conversation("Other place")
    chat = Chat(page).open(first)
    chat.button("Edit").click()
    page.get_by_role("textbox", name="Edit message").fill("one, but better")
    chat.link("Other place").click()
    expect(page).to_have_url(re.compile(other))
    expect(chat.box).to_have_value("")
    page.go_back()
    expect(chat.box).to_have_value("one, but better")

    chat.link("Other place").click()
    expect(page).to_have_url(re.compile(other))
    page.go_back()
    chat.box.fill("")
    chat.button("Edit").click()
    expect(page.get_by_role("textbox", name="Edit message")).to_be_focused()
    chat.link("Other place").click()
    page.go_back()
    expect(chat.messages).to_have_count(2)
    expect(chat.box).to_have_value("")


def test_slow_save_does_not_take_the_focus_from_the_text_box(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation("Unhurried", "one", "two"))
    chat.button("Edit").click()
    page.get_by_role("textbox", name="Edit message").fill("uno")
    held = Held(page, "**/messages/*", "PUT")
    chat.send_edited.click()
    held.until(1)
    chat.box.press_sequentially("next ")
    held.let_go()
    chat.until_answered()
    expect(chat.box).to_be_focused()
    expect(chat.box).to_have_value("next ")
