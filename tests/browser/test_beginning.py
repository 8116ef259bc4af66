"""The first message of a long conversation is one key away, and what lies between is loaded as it is read."""

from __future__ import annotations

import re

import psycopg
import pytest
from playwright.sync_api import Locator, Page, Request, expect

from tests.browser.chat import AT_END, Chat
from tests.browser.conftest import Complaints, Server

pytestmark = pytest.mark.browser

# The numbers of the messages that the page has, in their order.
NUMBERS = "(nodes) => nodes.map((node) => Number(node.textContent.split(' ')[1]))"


def long_conversation(server: Server, title: str, count: int) -> str:
    """A conversation with that many messages, `turn 1` and so on, by a user and an assistant in turn."""
    conversation_id = server.create_conversation(title)
    with psycopg.connect(server.database_url) as connection:
        connection.execute(
            "INSERT INTO chat_messages (id, conversation_id, role, content, created_at, position)"
            " SELECT gen_random_uuid(), %s, CASE n %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END, 'turn ' || n || ' ,',"
            " now(), n FROM generate_series(1, %s) AS n",
            (conversation_id, count),
        )
        connection.execute("UPDATE chat_conversations SET last_position = %s WHERE id = %s", (count, conversation_id))
    return conversation_id


def at_the_beginning(page: Page, server: Server, title: str, count: int) -> tuple[Chat, Locator]:
    """A new conversation with that many messages, opened at its end and brought to its beginning; what scrolls it."""
    chat = Chat(page).open(long_conversation(server, title, count))
    region = page.get_by_role("region", name=title)
    expect(chat.message(f"turn {count}")).to_be_in_viewport()
    region.focus()
    page.keyboard.press("Home")
    expect(chat.message("turn 1")).to_be_in_viewport()
    return chat, region


def numbers(chat: Chat) -> list[int]:
    found: list[int] = chat.main.locator(".message .content").evaluate_all(NUMBERS)
    return found


def scroll_to(chat: Chat, region: Locator, number: int, pixels: int) -> None:
    """Turn the wheel until this message has come into view. Those around it are loaded meanwhile."""
    region.hover()
    message = chat.message(f"turn {number}")
    for _ in range(100):
        if message.count() and message.evaluate(
            "(node) => node.getBoundingClientRect().top > 0 && node.getBoundingClientRect().bottom < innerHeight"
        ):
            return
        chat.page.mouse.wheel(0, pixels)
        chat.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    raise AssertionError(f"turn {number} did not come into view")


def test_home_shows_the_first_of_many_messages_at_once(page: Page, server: Server) -> None:
    count = 5000
    chat = Chat(page).open(long_conversation(server, "Very long", count))
    region = page.get_by_role("region", name="Very long")
    expect(chat.message(f"turn {count}")).to_be_in_viewport()
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/messages?" in request.url:
            asked.append(request.url)

    page.on("request", note)
    region.focus()
    page.keyboard.press("Home")
    expect(chat.message("turn 1")).to_be_in_viewport()
    assert len([url for url in asked if "order=asc" in url]) == 1
    assert len(asked) <= 2
    assert len(numbers(chat)) < 250

    # Reading on loads what follows, without holes, and without loading all.
    scroll_to(chat, region, 120, 400)
    shown = numbers(chat)
    start = shown.index(120)
    assert shown[: start + 5] == list(range(1, start + 6))
    assert len(shown) < 400
    chat.button("Jump to the end").click()
    expect(chat.message(f"turn {count}")).to_be_in_viewport()
    scroll_to(chat, region, count - 70, -400)
    shown = numbers(chat)
    assert shown == list(range(shown[0], count + 1))

    # Control and Home do it from everywhere but a text.
    chat.box.focus()
    page.keyboard.press("Control+Home")
    expect(chat.message("turn 1")).to_be_in_viewport()
    chat.box.fill("one more")
    page.keyboard.press("Control+Home")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    chat.until_answered()
    expect(chat.answers.last).to_have_text(re.compile("one more"))
    page.wait_for_function(AT_END, arg=region.element_handle())


def test_first_messages_and_last_ones_meet(page: Page, server: Server) -> None:
    count = 230
    chat, region = at_the_beginning(page, server, "Meeting", count)
    assert len(numbers(chat)) < count
    # The end of what is loaded is not the end.
    expect(chat.button("Jump to the end")).to_be_visible()
    scroll_to(chat, region, count, 500)
    assert numbers(chat) == list(range(1, count + 1))
    page.keyboard.press("Home")
    expect(chat.message("turn 1")).to_be_in_viewport()


def test_beginning_is_shown_again_without_loading_all(page: Page, server: Server) -> None:
    count = 2000
    server.create_conversation("Beside the beginning", "a", "b")
    chat, region = at_the_beginning(page, server, "Left at its beginning", count)
    scroll_to(chat, region, 120, 400)
    chat.link("Beside the beginning").click()
    expect(chat.questions).to_have_text(["a"])
    page.go_back()
    expect(chat.message("turn 120")).to_be_in_viewport()
    assert len(numbers(chat)) < 400
    chat.button("Jump to the end").click()
    expect(chat.message(f"turn {count}")).to_be_in_viewport()


def test_page_follows_the_end_if_the_beginning_cannot_be_loaded(
    page: Page, server: Server, complaints: Complaints
) -> None:
    count = 300
    chat = Chat(page).open(long_conversation(server, "No beginning", count))
    region = page.get_by_role("region", name="No beginning")
    expect(chat.message(f"turn {count}")).to_be_in_viewport()
    page.route("**/messages?*order=asc*", lambda route: route.abort())
    region.focus()
    page.keyboard.press("Home")
    expect(chat.alert).to_be_visible()
    server.call("POST", f"/conversations/{chat.conversation_id}/messages", {"role": "assistant", "content": "news"})
    expect(chat.message("news")).to_be_in_viewport()
    page.wait_for_function(AT_END, arg=region.element_handle())
    page.unroute_all()
    chat.button("Retry").click()
    expect(chat.message("turn 1")).to_be_in_viewport()
    complaints.forgive()
