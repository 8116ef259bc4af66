"""Asking, answering and acting on messages."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Request, Route, expect

from tests.browser.chat import ECHO, Chat, unique, words
from tests.browser.conftest import Complaints, OpenContext, Server
from tests.browser.held import until

pytestmark = pytest.mark.browser


def test_first_message_creates_conversation_and_is_answered(
    page: Page, context: BrowserContext, server: Server
) -> None:
    chat = Chat(page).open()
    chat.button("New conversation").click()
    chat.ask("Good morning").until_answered()
    chat.ask("And good night").until_answered()

    expect(chat.questions).to_have_text(["Good morning", "And good night"])
    expect(chat.answers).to_have_text([f"{ECHO}Good morning", f"{ECHO}And good night"])
    expect(chat.link("Good morning")).to_have_attribute("aria-current", "page")
    expect(page).to_have_title("Good morning · chatserver")
    stored = [(message["role"], message["content"]) for message in server.messages(chat.conversation_id)]
    assert stored == [
        ("user", "Good morning"),
        ("assistant", f"{ECHO}Good morning"),
        ("user", "And good night"),
        ("assistant", f"{ECHO}And good night"),
    ]

    page.reload()
    expect(chat.answers).to_have_text([f"{ECHO}Good morning", f"{ECHO}And good night"])
    other = Chat(context.new_page()).open(chat.conversation_id)
    expect(other.answers).to_have_text([f"{ECHO}Good morning", f"{ECHO}And good night"])


def test_enter_sends_and_shift_enter_breaks_the_line(page: Page, server: Server) -> None:
    server.until_rendered(f"{ECHO}one\n  two")
    chat = Chat(page).open()
    height = chat.box.bounding_box()
    chat.box.press_sequentially("one")
    chat.box.press("Shift+Enter")
    chat.box.press_sequentially("  two")
    grown = chat.box.bounding_box()
    assert height and grown and grown["height"] > height["height"]
    chat.box.press("Enter")
    chat.until_answered()
    assert chat.questions.text_content() == "one\n  two"
    expect(chat.answers.locator("br")).to_have_count(1)
    assert chat.answers.inner_text() == f"{ECHO}one\ntwo"
    expect(chat.box).to_have_value("")
    expect(chat.box).to_be_focused()


def test_blank_message_is_not_sent(page: Page) -> None:
    chat = Chat(page).open()
    chat.box.fill(" \n ")
    expect(chat.send).to_be_disabled()
    chat.send.click(force=True)
    chat.box.press("Enter")
    expect(chat.box).to_have_value(" \n ")
    chat.box.fill("")
    chat.ask("something").until_answered()
    expect(chat.questions).to_have_text(["something"])


def test_stop_keeps_the_text_that_was_shown(page: Page, server: Server) -> None:
    agent = server.create_agent("Slow", "slow")
    chat = Chat(page).open(server.create_conversation("Stopped", agent_id=agent)).ask(words(200))
    expect(chat.answers).to_contain_text("word3")
    expect(chat.send).to_be_hidden()
    chat.button("Stop").click()
    expect(chat.button("Stop")).to_be_hidden()
    expect(chat.main.get_by_text("stopped", exact=True)).to_be_visible()
    kept = server.messages(chat.conversation_id)[1]
    assert kept["status"] == "stopped"
    assert (ECHO + words(200)).startswith(kept["content"])
    until(page, lambda: chat.answers.text_content() == kept["content"].rstrip())


def test_edit_rewinds_and_answers_anew(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation("Edited")).ask("first").until_answered()
    chat.ask("second").until_answered()
    chat.button("Edit").first.click()
    editor = page.get_by_role("textbox", name="Edit message")
    expect(editor).to_have_value("first")
    editor.press("Escape")
    expect(editor).to_be_hidden()
    chat.button("Edit").first.click()
    chat.button("Cancel").click()
    expect(chat.questions).to_have_text(["first", "second"])

    chat.button("Edit").first.click()
    editor.fill("better")
    chat.send_edited.click()
    expect(chat.questions).to_have_text(["better"])
    expect(chat.answers).to_have_text([f"{ECHO}better"])
    chat.until_answered()
    expect(chat.messages.first.get_by_text("edited", exact=True)).to_be_visible()
    assert [message["content"] for message in server.messages(chat.conversation_id)] == ["first", f"{ECHO}better"]


def test_edit_stops_the_answer_that_is_being_generated(page: Page, server: Server) -> None:
    agent = server.create_agent("Slow", "slow")
    chat = Chat(page).open(server.create_conversation("Interrupted", agent_id=agent)).ask(words(200))
    chat.button("Edit").click()
    page.get_by_role("textbox", name="Edit message").fill("short")
    page.keyboard.press("Enter")
    chat.until_answered()
    expect(chat.answers).to_have_text([f"{ECHO}short"])


def test_regenerate_replaces_the_newest_answer(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation("Again")).ask("once more").until_answered()
    first = server.messages(chat.conversation_id)[1]["id"]
    expect(page.locator(f"#m-{first}")).to_be_visible()
    chat.button("Regenerate").click()
    expect(page.locator(f"#m-{first}")).to_have_count(0)
    chat.until_answered()
    expect(chat.answers).to_have_text([f"{ECHO}once more"])
    assert server.messages(chat.conversation_id)[1]["id"] != first


def test_branch_opens_a_conversation_up_to_the_message(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("Trunk", "one", "two", "three", "four")
    chat = Chat(page).open(conversation_id)
    chat.message("two").get_by_role("button", name="Branch").click()
    expect(page).not_to_have_url(re.compile(conversation_id))
    expect(chat.messages).to_have_count(2)
    assert [message["content"] for message in server.messages(chat.conversation_id)] == ["one", "two"]
    page.go_back()
    expect(chat.messages).to_have_count(4)


def test_copy_puts_the_markdown_on_the_clipboard(open_context: OpenContext, server: Server) -> None:
    context = open_context(permissions=["clipboard-read", "clipboard-write"])
    chat = Chat(context.new_page()).open(server.create_conversation("Copied", "one", "<b>two</b>\n  lines"))
    chat.button("Copy").last.click()
    expect(chat.page.locator("[aria-live=polite]")).to_have_text("Copied")
    assert chat.page.evaluate("navigator.clipboard.readText()") == "<b>two</b>\n  lines"


@pytest.mark.parametrize(("name", "extension"), [("Markdown", "md"), ("JSON", "json")])
def test_export_is_saved_as_a_file(page: Page, server: Server, name: str, extension: str) -> None:
    title = unique("Grüße / exported")
    conversation_id = server.create_conversation(title, "Guten Morgen", "Γειά **σου**")
    chat = Chat(page).open(conversation_id)
    chat.options.click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name=f"Export as {name}").click()
    assert download.value.suggested_filename == f"{title.replace(' / ', ' ')}.{extension}"
    text = download.value.path().read_text(encoding="utf-8")
    if name == "JSON":
        contents = [message["content"] for message in json.loads(text)["messages"]]
        assert contents == ["Guten Morgen", "Γειά **σου**"]
    else:
        assert [text.count(part) for part in (title, "Guten Morgen", "Γειά **σου**")] == [1, 1, 1]
    expect(page).to_have_url(re.compile(f"/c/{conversation_id}$"))
    expect(chat.answers).to_have_text(["Γειά σου"])


def test_drafts_are_kept_per_conversation(page: Page, server: Server) -> None:
    one, two = server.create_conversation("Draft one"), server.create_conversation("Draft two")
    chat = Chat(page).open(one)
    chat.box.fill("half a thought")
    chat.link("Draft two").click()
    expect(page).to_have_url(re.compile(two))
    expect(chat.box).to_have_value("")
    chat.box.fill("another")
    page.go_back()
    expect(chat.box).to_have_value("half a thought")
    page.reload()
    expect(chat.box).to_have_value("half a thought")
    chat.send.click()
    chat.until_answered()
    page.reload()
    expect(chat.answers).to_have_text([f"{ECHO}half a thought"])
    expect(chat.box).to_have_value("")


def test_failed_answer_shows_error_and_retry(page: Page, server: Server) -> None:
    agent = server.create_agent("Away", "away")
    chat = Chat(page).open(server.create_conversation("Unlucky", agent_id=agent))
    chat.box.fill("Is anybody there?")
    chat.send.click()
    expect(chat.alert).to_contain_text(re.compile(r"\w+ \w+"))
    expect(chat.questions).to_have_text(["Is anybody there?"])
    expect(chat.send).to_be_visible()
    server.call("PATCH", f"/agents/{agent}", {"adapterConfig": {"provider": "slow"}})
    chat.alert.get_by_role("button", name="Retry").click()
    chat.until_answered()
    expect(chat.alert).to_have_count(0)
    expect(chat.answers).to_have_text([f"{ECHO}Is anybody there?"])


def test_question_without_an_answer_says_so(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation("Left alone", "Hello?"))
    expect(chat.main.get_by_text("There is no answer to this.")).to_be_visible()
    chat.button("Retry").click()
    chat.until_answered()
    expect(chat.answers).to_have_text([f"{ECHO}Hello?"])


@pytest.mark.parametrize("stored_all_the_same", [False, True], ids=["request-lost", "answer-lost"])
def test_failed_send_is_repeated_and_stored_once(
    page: Page, server: Server, complaints: Complaints, stored_all_the_same: bool
) -> None:
    """The message stays where it is. Each try sends the same key, so the server stores it once."""
    keys: list[str | None] = []

    def lose(route: Route) -> None:
        if stored_all_the_same:
            route.fetch()
        route.abort()

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/messages"):
            keys.append(request.header_value("Idempotency-Key"))

    chat = Chat(page).open(server.create_conversation("Lost"))
    page.on("request", note)
    page.route("**/messages", lose, times=1)
    chat.box.fill("only once")
    chat.send.click()
    if not stored_all_the_same:
        expect(chat.alert).to_contain_text("Not sent")
        expect(chat.questions).to_have_text(["only once"])
        chat.button("Retry").click()
    chat.until_answered()
    expect(chat.alert).to_have_count(0)
    expect(chat.questions).to_have_text(["only once"])
    assert len(server.messages(chat.conversation_id)) == 2
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert all("ERR_FAILED" in text for text in complaints.texts)
    complaints.forgive()


def test_agent_can_be_chosen_for_the_conversation_or_one_message(page: Page, server: Server) -> None:
    slow, other = server.create_agent("Tortoise", "slow"), server.create_agent("Hare", "slow")
    chat = Chat(page).open()
    chat.choose_agent("Tortoise")
    chat.ask("first").until_answered()
    expect(chat.messages.last).to_contain_text("Tortoise")
    chat.choose_agent("Hare", once=True)
    chat.ask("second").until_answered()
    expect(chat.messages.last).to_contain_text("Hare")
    expect(chat.agent).to_have_attribute("value", slow)
    chat.ask("third").until_answered()
    stored = server.messages(chat.conversation_id)
    assert [message["agentId"] for message in stored if message["role"] == "assistant"] == [slow, other, slow]

    with page.expect_response(lambda response: response.request.method == "PATCH"):
        chat.choose_agent("Hare")
    page.reload()
    expect(chat.agent).to_have_attribute("value", other)


def test_agent_that_is_not_registered_is_shown_by_id(page: Page, server: Server) -> None:
    stranger = "01234567-89ab-4cde-8f01-23456789abcd"
    chat = Chat(page).open(server.create_conversation("Stranger", agent_id=stranger)).ask("Who are you?")
    chat.until_answered()
    expect(chat.agent).to_have_attribute("value", stranger)
    expect(chat.messages.last).to_contain_text("Agent 01234567")


def test_thinking_is_folded_away(page: Page, server: Server) -> None:
    agent = server.create_agent("Thinker", "thinking")
    chat = Chat(page).open(server.create_conversation("Deep", agent_id=agent)).ask("What is it?").until_answered()
    expect(chat.answers).to_have_text(["Forty-two"])
    thoughts = chat.main.get_by_text("Six times seven.")
    expect(thoughts).to_be_hidden()
    chat.main.get_by_text(re.compile("^Thought")).click()
    expect(thoughts).to_be_visible()


def test_message_shows_its_time(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation("Timed", "one", "two"))
    stored: list[dict[str, Any]] = server.messages(chat.conversation_id)
    for index, message in enumerate(stored):
        expect(chat.messages.nth(index).locator("time")).to_have_attribute("datetime", message["createdAt"])
