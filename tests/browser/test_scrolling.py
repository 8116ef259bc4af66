"""Which part of a long conversation is in view while it grows, and in windows of all widths."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.chat import AT_END, Chat
from tests.browser.conftest import OpenContext, Server

pytestmark = pytest.mark.browser

# The first message that begins in view, and how far it is below the upper edge.
TOP = """(scroller) => {
  const edge = scroller.getBoundingClientRect().top;
  const offset = (message) => message.getBoundingClientRect().top - edge;
  const message = [...scroller.querySelectorAll("article")].find((one) => offset(one) >= 0);
  return {id: message.id, offset: offset(message)};
}"""
OFFSET = """(message) => {
  const scroller = message.closest("[role=region]");
  return message.getBoundingClientRect().top - scroller.getBoundingClientRect().top;
}"""


def scroller(page: Page, title: str) -> Locator:
    return page.get_by_role("region", name=title)


def answering(page: Page, server: Server, title: str) -> Chat:
    """A long conversation, read at its end while an answer is generated."""
    turns = [f"turn {number} " + "and more " * 60 for number in range(20)]
    conversation_id = server.create_conversation(title, *turns, agent_id=server.create_agent("Slow", "slow"))
    chat = Chat(page).open(conversation_id).ask("line\n" * 400)
    expect(chat.answers.last).to_contain_text("line")
    page.wait_for_function(AT_END, arg=scroller(page, title).element_handle())
    return chat


def until_at_rest(region: Locator) -> None:
    """Wait for the end of a scroll: browsers animate it, frame by frame."""
    region.evaluate(
        """node => new Promise(resolve => {
            let place = node.scrollTop, frames = 0;
            const look = () => {
                frames = node.scrollTop === place ? frames + 1 : 0;
                place = node.scrollTop;
                frames < 20 ? requestAnimationFrame(look) : resolve();
            };
            look();
        })"""
    )


def until_longer(chat: Chat) -> None:
    """Wait until the answer has some more lines."""
    answer = chat.answers.last
    chat.page.wait_for_function(
        "([node, length]) => node.textContent.length > length + 50",
        arg=[answer.element_handle(), len(answer.text_content() or "")],
    )


@pytest.mark.parametrize("means", ["wheel", "key"])
def test_small_scroll_steps_leave_the_end_of_an_answer(page: Page, server: Server, means: str) -> None:
    title = f"Growing by {means}"
    chat = answering(page, server, title)
    region = scroller(page, title)
    if means == "wheel":
        region.hover()
        for _ in range(4):
            page.mouse.wheel(0, -5)
    else:
        region.focus()
        page.keyboard.press("ArrowUp")
    expect(chat.button("Jump to the end")).to_be_visible()
    until_at_rest(region)
    place = chat.answers.last.bounding_box()
    until_longer(chat)
    now = chat.answers.last.bounding_box()
    assert place and now
    assert now["y"] == place["y"]
    assert now["height"] > place["height"]

    chat.button("Jump to the end").click()
    expect(chat.button("Jump to the end")).to_be_hidden()
    for _ in range(2):
        until_longer(chat)
        page.wait_for_function(AT_END, arg=region.element_handle())
    chat.button("Stop").click()
    expect(chat.main.get_by_text("stopped", exact=True)).to_be_in_viewport()


def test_scrolling_back_to_the_end_follows_the_answer_again(page: Page, server: Server) -> None:
    chat = answering(page, server, "There and back")
    region = scroller(page, "There and back")
    region.hover()
    page.mouse.wheel(0, -300)
    expect(chat.button("Jump to the end")).to_be_visible()
    until_longer(chat)
    page.mouse.wheel(0, 5000)
    expect(chat.button("Jump to the end")).to_be_hidden()
    until_longer(chat)
    page.wait_for_function(AT_END, arg=region.element_handle())
    chat.button("Stop").click()


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("length", [58, 200])
@pytest.mark.parametrize("word", ["spaced ", "unbroken"])
def test_long_titles_leave_room_for_the_buttons(
    open_context: OpenContext, server: Server, width: int, length: int, word: str
) -> None:
    title = f"{width} {length} {word * 40}"[: length - 1] + "."
    page = open_context(viewport={"width": width, "height": 640}).new_page()
    chat = Chat(page).open(server.create_conversation(title, "a", "b"))
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    for button in (chat.send, chat.options):
        expect(button).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = chat.options.bounding_box()
    assert box and box["width"] >= 24 and box["height"] >= 24


def test_message_at_the_top_stays_when_the_window_is_resized(page: Page, server: Server) -> None:
    turns = [f"turn {number} " + "and so on and so forth " * 30 for number in range(40)]
    page.set_viewport_size({"width": 1200, "height": 700})
    chat = Chat(page).open(server.create_conversation("Resized", *turns))
    region = scroller(page, "Resized")
    chat.messages.nth(20).evaluate("(node) => node.scrollIntoView()")
    region.hover()
    page.mouse.wheel(0, -60)  # So that a message begins in view.
    expect(chat.button("Jump to the end")).to_be_visible()
    page.wait_for_function("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    top = region.evaluate(TOP)
    message = page.locator(f"#{top['id']}")
    heights = set()
    for width, height in ((800, 700), (390, 700), (390, 400), (1200, 700), (500, 600)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(
            f"([message, offset]) => Math.abs(({OFFSET})(message) - offset) < 2",
            arg=[message.element_handle(), top["offset"]],
        )
        heights.add(message.evaluate("(node) => node.clientHeight"))
    assert len(heights) > 2


def test_editor_stays_in_view_while_an_answer_grows_below(page: Page, server: Server) -> None:
    chat = answering(page, server, "Edited above")
    chat.messages.nth(-2).get_by_role("button", name="Edit").click()
    editor = page.get_by_role("textbox", name="Edit message")
    expect(editor).to_be_focused()
    place = editor.bounding_box()
    until_longer(chat)
    until_longer(chat)
    assert editor.bounding_box() == place


def test_editor_stays_in_view_when_a_screen_keyboard_opens(page: Page, server: Server) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    turns = [f"turn {number} " + "and more " * 60 for number in range(10)]
    chat = Chat(page).open(server.create_conversation("Small", *turns, "short", "line\n" * 6))
    chat.messages.nth(-2).get_by_role("button", name="Edit").click()
    editor = page.get_by_role("textbox", name="Edit message")
    expect(editor).to_be_focused()
    page.set_viewport_size({"width": 360, "height": 300})
    expect(editor).to_be_in_viewport(ratio=1)
    expect(chat.send_edited).to_be_in_viewport(ratio=1)
