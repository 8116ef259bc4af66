"""The palette and the shortcuts, by keyboard alone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.chat import Chat, unique, unique_word
from tests.browser.conftest import Server

pytestmark = pytest.mark.browser


def palette(page: Page) -> Locator:
    """The text box of the palette, once it is there and has the focus."""
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Search conversations, agents and actions")
    expect(box).to_be_focused()
    return box


def option(page: Page, name: str) -> Locator:
    return page.get_by_role("option").filter(has_text=name)


def test_palette_finds_conversations_agents_and_actions(page: Page, server: Server) -> None:
    agent, older, newer = unique("Gärtner"), unique("Older"), unique("Newer")
    server.create_agent(agent, "slow")
    server.create_conversation(older, "one", "two")
    newer_id = server.create_conversation(newer, "one", "two")
    chat = Chat(page).open()

    # The last conversations are there at once, the newest one is marked.
    palette(page)
    expect(option(page, newer)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(option(page, older)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")  # round to the last one
    expect(option(page, newer)).to_have_attribute("aria-selected", "false")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(newer_id))
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(chat.box).to_be_focused()

    # Titles are searched by the server; accents and case do not matter for agents.
    box = palette(page)
    box.fill(older.upper())
    expect(page.get_by_role("option")).to_have_count(1)
    expect(option(page, older)).to_have_attribute("aria-selected", "true")
    box.fill(agent.replace("ä", "a").lower())
    expect(option(page, agent)).to_have_attribute("aria-selected", "true")
    box.press("Enter")
    expect(chat.agent).to_contain_text(agent)

    box = palette(page)
    box.fill(unique_word())
    expect(page.get_by_text("Nothing has this name.")).to_be_visible()
    expect(box).not_to_have_attribute("aria-activedescendant", re.compile("."))
    box.press("Control+k")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(chat.box).to_be_focused()

    # What can be done with the open conversation.
    palette(page).fill("this conversation archive")
    page.keyboard.press("Enter")
    expect(chat.button("Undo")).to_be_visible()
    box = palette(page)
    box.fill(newer)
    expect(option(page, newer)).to_contain_text("Archived")
    box.fill("show archived")
    page.keyboard.press("Enter")
    expect(chat.button("Archived")).to_have_attribute("aria-pressed", "true")
    expect(chat.link(newer)).to_be_visible()


def test_shortcuts_are_listed_and_leave_typing_alone(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation(unique("Here"), "one", "two"))
    chat.box.fill("What")
    chat.box.press("?")
    chat.box.press("/")
    expect(chat.box).to_have_value("What?/")
    expect(page.get_by_role("dialog")).to_have_count(0)

    # An input method composes with the same keys, and another layout has other letters at them.
    press = """([name, more]) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown",
        {key: name, code: "KeyK", ctrlKey: true, bubbles: true, cancelable: true, ...more}))"""
    assert page.evaluate(press, ["k", {"isComposing": True}])
    assert page.evaluate(press, ["k", {"altKey": True}])
    assert not page.evaluate(press, ["ن", {}])
    expect(page.get_by_role("combobox", name="Search conversations, agents and actions")).to_be_focused()
    page.keyboard.press("Escape")

    chat.button("Settings").focus()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    rows = dialog.locator("dl > div").all_inner_texts()
    listed = {" ".join(row.split("\n")[0].split()): " ".join(row.split("\n")[1:]) for row in rows}
    assert listed["New conversation"] == "Ctrl Shift O"
    assert listed["Search messages"] == "/"
    assert listed["Keyboard shortcuts"] == "?"
    assert listed["Send the message, or an edited one"] == "Enter"
    # Nothing happens below an open dialog.
    page.keyboard.press("Control+Shift+O")
    expect(dialog).to_be_visible()
    expect(page).to_have_url(re.compile("/c/"))
    page.keyboard.press("Escape")
    expect(chat.button("Settings")).to_be_focused()

    page.keyboard.press("/")
    expect(chat.sidebar.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Control+Shift+O")
    expect(page.get_by_role("heading", level=1)).to_have_text("New conversation")
    expect(chat.box).to_be_focused()
