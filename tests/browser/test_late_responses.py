"""Responses that come late, or never: they change nothing in what was opened since, and hold nothing up."""

from __future__ import annotations

import http.client
import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import ECHO, Chat, hide, listen, spoken, words
from tests.browser.conftest import Complaints, OpenContext, Server
from tests.browser.held import Held, until

pytestmark = pytest.mark.browser

SHORTER_TIMEOUTS = """
  const timeout = AbortSignal.timeout;
  AbortSignal.timeout = (milliseconds) => timeout.call(AbortSignal, milliseconds / 10);
"""


def request_stream(server: Server, url: str) -> None:
    """Send a stream's request that was still on its way when the browser aborted it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    connection.request("GET", f"{parts.path}?{parts.query}", headers={"Accept": "text/event-stream"})
    assert connection.getresponse().status == 200
    connection.close()


def test_agent_is_saved_in_the_conversation_where_it_was_chosen(page: Page, server: Server) -> None:
    tortoise, hare = server.create_agent("Tortoise", "slow"), server.create_agent("Hare", "slow")
    left = server.create_conversation("Left", "a", "b")
    server.create_conversation("Entered", "c", "d", agent_id=hare)
    chat = Chat(page).open(left)
    held = Held(page, f"**/conversations/{left}", "PATCH")
    chat.choose_agent("Tortoise")
    held.until(1)
    chat.link("Entered").click()
    expect(chat.answers).to_have_text(["d"])
    with page.expect_response(lambda response: response.request.method == "PATCH"):
        held.let_go()
    # The list is refreshed at once.
    with page.expect_request_finished(lambda request: request.url.endswith("/conversations?archived=false")):
        pass
    expect(page.get_by_role("heading", level=1)).to_have_text("Entered")
    expect(page).to_have_title("Entered · chatserver")
    expect(chat.agent).to_have_attribute("value", hare)
    expect(chat.link("Entered")).to_have_attribute("aria-current", "page")
    chat.options.click()
    href = page.get_by_role("menuitem", name="Export as JSON").get_attribute("href")
    assert href is not None and chat.conversation_id in href
    assert server.call("GET", f"/conversations/{left}")["agentId"] == tortoise
    assert server.call("GET", f"/conversations/{chat.conversation_id}")["agentId"] == hare


def test_agent_chosen_just_before_sending_answers(page: Page, server: Server) -> None:
    agent = server.create_agent("Chosen", "slow")
    conversation_id = server.create_conversation("Choice")
    chat = Chat(page).open(conversation_id)
    held = Held(page, f"**/conversations/{conversation_id}", "PATCH")
    chat.choose_agent("Chosen")
    chat.box.fill("Who are you?")
    chat.send.click()
    expect(chat.questions).to_have_text(["Who are you?"])
    with page.expect_response(f"**/conversations/{conversation_id}"):  # The next poll: long enough for a POST.
        pass
    held.let_go()
    chat.until_answered()
    expect(chat.messages.last).to_contain_text("Chosen")
    assert server.messages(conversation_id)[1]["agentId"] == agent


def test_stop_before_the_answer_was_requested_stops_it(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("Hasty", agent_id=server.create_agent("Slow", "slow"))
    chat = Chat(page).open(conversation_id)
    held = Held(page, "**/stream?*")
    chat.box.fill(words(600))
    chat.send.click()
    held.until(1)
    chat.button("Stop").click()
    expect(chat.send).to_be_visible()
    request_stream(server, held.urls[0])
    assert server.call("GET", f"/conversations/{conversation_id}")["activeRun"] is not None
    held.let_go()
    until(page, lambda: server.call("GET", f"/conversations/{conversation_id}")["activeRun"] is None)
    expect(chat.button("Stop")).to_be_hidden()
    expect(chat.send).to_be_visible()
    assert [message["status"] for message in server.messages(conversation_id)][1:] in ([], ["stopped"])


def test_slow_delete_does_not_take_the_focus_from_the_text_box(page: Page, server: Server) -> None:
    server.create_conversation("Unwanted")
    chat = Chat(page).open(server.create_conversation("Kept"))
    held = Held(page, "**/conversations/*", "DELETE")
    chat.choose("Unwanted", "Delete")
    held.until(1)
    chat.box.press_sequentially("half")
    held.let_go()
    expect(chat.button("Undo")).to_be_visible()
    page.keyboard.type("way")
    expect(chat.box).to_be_focused()
    expect(chat.box).to_have_value("halfway")
    expect(chat.link("Unwanted")).to_have_count(0)
    expect(page.get_by_text("“Unwanted” deleted")).not_to_have_count(0)


def test_slow_delete_of_the_open_conversation_keeps_typed_text(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("Opened", "a", "b")
    chat = Chat(page).open(conversation_id)
    held = Held(page, "**/conversations/*", "DELETE")
    chat.choose("Opened", "Delete")
    held.until(1)
    chat.box.press_sequentially("half")
    held.let_go()
    expect(chat.button("Undo")).to_be_visible()
    expect(page).to_have_url(re.compile("/$"))
    expect(chat.box).to_be_focused()
    chat.button("Undo").click()
    expect(page).to_have_url(re.compile(conversation_id))
    expect(chat.box).to_have_value("half")


def test_undo_is_focused_if_the_focus_was_lost(page: Page, server: Server) -> None:
    server.create_conversation("Vanishing")
    chat = Chat(page).open(server.create_conversation("Staying"))
    chat.choose("Vanishing", "Delete")
    expect(chat.button("Undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(chat.link("Vanishing")).to_be_visible()


def test_request_without_a_response_holds_nothing_up(page: Page, server: Server) -> None:
    page.add_init_script(SHORTER_TIMEOUTS)
    conversation_id = server.create_conversation("Waiting")
    chat = Chat(page).open(conversation_id)
    held = Held(page, "**/conversations?*")
    held.until(1)
    held.let_later_ones_go()
    server.call("POST", f"/conversations/{conversation_id}/messages", {"role": "user", "content": "from elsewhere"})
    expect(chat.questions).to_have_text(["from elsewhere"])


def test_slow_regenerate_does_not_leave_the_conversation_opened_since(page: Page, server: Server) -> None:
    agent = server.create_agent("Slow", "slow")
    left = server.create_conversation("Left alone", "once more", "an answer", agent_id=agent)
    entered = server.create_conversation("Elsewhere", "c", "d")
    chat = Chat(page).open(left)
    held = Held(page, "**/rewind", "POST")
    chat.button("Regenerate").click()
    held.until(1)
    chat.link("Elsewhere").click()
    expect(chat.answers).to_have_text(["d"])
    listen(page)
    held.let_go()
    until(page, lambda: [message["content"] for message in server.messages(left)][1:] == [f"{ECHO}once more"])
    expect(chat.row("Left alone").get_by_role("img", name="Answering")).to_have_count(0)
    expect(page).to_have_url(re.compile(entered))
    expect(page.get_by_role("heading", level=1)).to_have_text("Elsewhere")
    expect(chat.answers).to_have_text(["d"])
    expect(chat.send).to_be_visible()
    assert spoken(page) == []
    chat.link("Left alone").click()
    expect(chat.answers).to_have_text([f"{ECHO}once more"])


def test_slow_branch_does_not_leave_the_conversation_opened_since(page: Page, server: Server) -> None:
    left = server.create_conversation("Trunk", "a", "b")
    entered = server.create_conversation("Next", "c", "d")
    chat = Chat(page).open(left)
    held = Held(page, "**/branch", "POST")
    chat.button("Branch").last.click()
    held.until(1)
    chat.link("Next").click()
    expect(chat.answers).to_have_text(["d"])
    chat.box.press_sequentially("half")
    with page.expect_response("**/branch") as answered:
        held.let_go()
    branch = answered.value.json()
    expect(chat.sidebar.locator(f"a[href='/c/{branch['id']}']")).to_be_visible()
    page.keyboard.type("way")
    expect(page).to_have_url(re.compile(entered))
    expect(chat.answers).to_have_text(["d"])
    expect(chat.box).to_have_value("halfway")


def test_message_sent_before_leaving_is_answered(page: Page, server: Server) -> None:
    left = server.create_conversation("Asked and left", agent_id=server.create_agent("Slow", "slow"))
    server.create_conversation("Another", "c", "d")
    chat = Chat(page).open(left)
    held = Held(page, "**/messages", "POST")
    chat.box.fill("quickly")
    chat.send.click()
    held.until(1)
    chat.link("Another").click()
    expect(chat.answers).to_have_text(["d"])
    listen(page)
    held.let_go()
    until(page, lambda: [message["content"] for message in server.messages(left)] == ["quickly", f"{ECHO}quickly"])
    expect(chat.questions).to_have_text(["c"])
    expect(chat.answers).to_have_text(["d"])
    assert spoken(page) == []


def test_conversation_deleted_and_restored_elsewhere_is_shown_again(
    page: Page, server: Server, complaints: Complaints
) -> None:
    conversation_id = server.create_conversation("Away and back", "a", "b")
    chat = Chat(page).open(conversation_id)
    expect(chat.options).to_be_visible()
    server.call("DELETE", f"/conversations/{conversation_id}")
    expect(chat.alert).to_have_text("This conversation does not exist, or was deleted.")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
    expect(chat.options).to_be_hidden()
    expect(chat.box).to_be_hidden()
    alerts = chat.alert.element_handle()
    for _ in range(2):  # Further polls add no second alert.
        with page.expect_response(f"**/conversations/{conversation_id}"):
            pass
    expect(chat.alert).to_have_count(1)
    assert alerts.evaluate("(node) => node.isConnected")

    server.call("POST", f"/conversations/{conversation_id}/restore")
    expect(chat.answers).to_have_text(["b"])
    expect(page.get_by_role("heading", level=1)).to_have_text("Away and back")
    expect(chat.options).to_be_visible()
    expect(chat.alert).to_have_count(0)
    chat.ask("again").until_answered()
    assert all("404" in text for text in complaints.texts)
    complaints.forgive()


def test_menu_shows_a_pin_set_elsewhere(page: Page, open_context: OpenContext, server: Server) -> None:
    conversation_id = server.create_conversation("Pinned elsewhere", "a", "b")
    chat = Chat(page).open(conversation_id)
    expect(chat.link("Pinned elsewhere")).to_be_visible()
    other = Chat(open_context().new_page()).open()
    other.choose("Pinned elsewhere", "Pin")
    expect(chat.pinned.get_by_role("link", name="Pinned elsewhere")).to_be_visible(timeout=5000)
    with page.expect_response(f"**/conversations/{conversation_id}"):
        pass
    chat.options.click()
    page.get_by_role("menuitem", name="Unpin").click()
    expect(other.pinned).to_have_count(0)


def test_answer_asked_again_after_an_early_stop_is_not_stopped(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("Undecided", agent_id=server.create_agent("Slow", "slow"))
    chat = Chat(page).open(conversation_id)
    held = Held(page, "**/stream?*")
    chat.box.fill(words(60))
    chat.send.click()
    held.until(1)
    chat.button("Stop").click()
    expect(chat.button("Retry")).to_be_visible()
    held.let_go()
    chat.button("Retry").click()
    expect(chat.answers).to_contain_text("word3 ")
    hide(page, True)
    hide(page, False)
    chat.until_answered()
    expect(chat.answers).to_have_text([ECHO + words(60)])
    assert server.messages(conversation_id)[1]["status"] == "completed"


def test_slow_choice_of_another_agent_leaves_alone_what_was_opened_since(page: Page, server: Server) -> None:
    server.create_agent("Turtle", "slow")
    left = server.create_conversation("Asked", "a", "b")
    server.create_conversation("Read", "c", words(3_000))
    chat = Chat(page).open(left)
    held = Held(page, f"**/conversations/{left}", "PATCH")
    chat.button("Answer with another agent").click()
    page.get_by_role("menuitem", name="Turtle").click()
    held.until(1)
    chat.link("Read").click()
    expect(chat.questions).to_have_text(["c"])
    page.get_by_role("button", name="Branch").first.scroll_into_view_if_needed()
    page.mouse.move(700, 300)
    page.mouse.wheel(0, -3_000)
    expect(chat.button("Jump to the end")).to_be_visible()
    chat.link("Read").focus()
    with page.expect_response("**/rewind"):
        held.let_go()
    until(page, lambda: [one["content"] for one in server.messages(left)] == ["a", f"{ECHO}a"])
    expect(chat.link("Read")).to_be_focused()
    expect(chat.button("Jump to the end")).to_be_visible()
