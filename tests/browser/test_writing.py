"""The text box: what it takes, what it refuses, and what it says about that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from chatserver.settings import Settings
from tests.browser.chat import ECHO, Chat, unique_word, words
from tests.browser.conftest import COMPANY, Server

pytestmark = pytest.mark.browser

MOST = Settings().max_message_chars
# One character for people and the server, two code units for a script.
WIDE = "\U0001d11e"


def centre(locator: Locator) -> dict[str, float]:
    box = locator.bounding_box()
    assert box
    return {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}


def drop(page: Page, target: Locator, data: dict[str, Any]) -> None:
    """Drop what comes from outside of the browser, as its window does."""
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, **centre(target), "data": {"items": [], "dragOperationsMask": 1, **data}}
        session.send("Input.dispatchDragEvent", event)
    session.detach()


def paste(target: Locator, *, text: str | None = None) -> bool:
    """Paste a file, and with it a text if there is one. Returns whether the page leaves it to the browser."""
    taken: bool = target.evaluate(
        """(target, text) => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File(["picture"], "picture.png", {type: "image/png"}));
            if (text !== null) clipboardData.setData("text/plain", text);
            return target.dispatchEvent(
                new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true}));
        }""",
        text,
    )
    return taken


def test_send_is_muted_while_there_is_nothing_to_send(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation("Empty", agent_id=server.create_agent("Slow", "slow")))
    send, stop = chat.send, chat.button("Stop")
    for blank in ("", "  \n "):
        chat.box.fill(blank)
        expect(send).to_be_disabled()
        chat.box.press("Enter")
    # It can be reached all the same, and says what it is.
    send.focus()
    expect(send).to_be_focused()
    chat.box.fill("something")
    expect(send).to_be_enabled()
    chat.box.fill("")
    expect(send).to_be_disabled()
    expect(chat.messages).to_have_count(0)

    chat.ask(words(200))
    expect(send).to_be_hidden()
    expect(stop).to_be_visible()
    chat.box.fill("   ")
    expect(send).to_be_hidden()
    chat.box.fill("more")
    expect(send).to_be_enabled()
    expect(stop).to_be_visible()
    stop.click()
    expect(stop).to_be_hidden()
    expect(chat.box).to_have_value("more")
    assert len(server.messages(chat.conversation_id)) == 2


def test_too_long_text_is_told_before_it_is_sent(page: Page, server: Server) -> None:
    """It is counted as the server counts. Nothing of it is left behind."""
    before = server.call("GET", f"/companies/{COMPANY}/conversations")["items"]
    chat = Chat(page).open()
    told = page.get_by_role("status").filter(has_text="characters")
    chat.box.fill(f"{WIDE}{'x' * MOST}")
    expect(told).to_have_text(f"This text has {MOST + 1:,} characters. A message has at most {MOST:,}.")
    expect(chat.box).to_have_attribute("aria-invalid", "true")
    expect(chat.box).to_have_accessible_description(re.compile(f"{MOST + 1:,}"))
    expect(chat.send).to_be_disabled()
    chat.box.press("Enter")
    page.reload()
    expect(told).to_be_visible()
    expect(chat.messages).to_have_count(0)
    assert page.url.endswith("/")
    assert server.call("GET", f"/companies/{COMPANY}/conversations")["items"] == before

    chat.box.fill(f"{WIDE}{'x' * (MOST - 1)}")
    expect(told).to_have_count(0)
    expect(chat.box).to_have_attribute("aria-invalid", "false")
    chat.box.press("Enter")
    chat.until_answered()
    assert [len(message["content"]) for message in server.messages(chat.conversation_id)] == [MOST, MOST + len(ECHO)]


def test_files_are_refused_and_never_replace_the_page(page: Page, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("words of a file")
    chat = Chat(page).open(server.create_conversation("Files", "one", "two"))
    address = page.url
    page.evaluate("window.same = true")
    for target in (chat.box, chat.messages.last, chat.sidebar):
        drop(page, target, {"files": [str(file)]})
        expect(chat.alert).to_contain_text("Files are not supported yet")
        chat.box.press_sequentially("x")
        expect(chat.alert).to_have_count(0)
    for target in (chat.box, chat.messages.last):
        assert not paste(target)
        expect(chat.alert).to_contain_text("Files are not supported yet")
        chat.box.press_sequentially("y")
        expect(chat.alert).to_have_count(0)
    # A spreadsheet's cells come as text and as a picture.
    assert paste(chat.box, text="a\tb")
    expect(chat.alert).to_have_count(0)

    word = unique_word()
    chat.box.fill("")
    drop(page, chat.box, {"items": [{"mimeType": "text/plain", "data": word}]})
    expect(chat.box).to_have_value(word)
    expect(chat.alert).to_have_count(0)
    assert page.url == address
    assert page.evaluate("window.same") is True


def test_enter_starts_a_line_if_control_and_enter_send(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation("Keys"))
    chat.box.fill("one")
    chat.box.press("Control+Enter")
    chat.until_answered()
    page.evaluate("localStorage.setItem('chatserver send key', 'control+enter')")
    chat.box.press_sequentially("two")
    chat.box.press("Enter")
    chat.box.press_sequentially("lines")
    expect(chat.box).to_have_value("two\nlines")
    chat.box.press("Control+Enter")
    expect(chat.questions).to_have_text(["one", "two\nlines"])
    chat.until_answered()
