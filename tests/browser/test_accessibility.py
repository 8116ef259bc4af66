"""The page by keyboard, with a screen reader, and with reduced motion."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import ECHO, Chat, listen, spoken, words
from tests.browser.conftest import OpenContext, Server

pytestmark = pytest.mark.browser


def test_conversation_can_be_held_by_keyboard_alone(page: Page, server: Server) -> None:
    def tab_to(name: str) -> None:
        for _ in range(60):
            focused = page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent.trim()")
            if focused == name:
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{name} cannot be reached by the Tab key")

    agent = server.create_agent("Slow", "slow")
    server.create_conversation("By keyboard", agent_id=agent)
    chat = Chat(page).open()
    expect(chat.link("By keyboard")).to_be_visible()
    tab_to("Skip to writing")
    tab_to("By keyboard")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("By keyboard")
    tab_to("Message")
    page.keyboard.insert_text(words(300))
    page.keyboard.press("Enter")
    expect(chat.answers).to_contain_text("word1")
    expect(chat.box).to_be_focused()
    tab_to("Stop")
    page.keyboard.press("Enter")
    expect(chat.main.get_by_text("stopped", exact=True)).to_be_visible()
    expect(chat.box).to_be_focused()

    page.get_by_role("region", name="By keyboard").focus()
    tab_to("Edit")
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Edit message")).to_be_focused()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("seven")
    tab_to("Send")
    page.keyboard.press("Enter")
    chat.until_answered()
    expect(chat.answers).to_have_text([f"{ECHO}seven"])


def test_finished_answer_is_announced_whole_and_once(page: Page, server: Server) -> None:
    agent = server.create_agent("Speaker", "slow")
    chat = Chat(page).open(server.create_conversation("Spoken", agent_id=agent))
    listen(page)
    chat.ask(words(20)).until_answered()
    assert spoken(page) == [f"Speaker: {ECHO}{words(20)}"]
    for region in page.locator("[role=log], [role=status], [role=alert], [aria-live]").all():
        if region.get_attribute("id") != "announcer":
            expect(region).to_be_empty()


def test_message_buttons_are_reachable_without_hovering(page: Page, server: Server) -> None:
    chat = Chat(page).open(server.create_conversation("Buttons", "one", "two", "three", "four"))
    expect(chat.main.get_by_role("button", name="Copy", exact=True)).to_have_count(4)
    expect(chat.main.get_by_role("button", name="Edit", exact=True)).to_have_count(2)
    expect(chat.main.get_by_role("button", name="Branch", exact=True)).to_have_count(4)
    expect(chat.main.get_by_role("button", name="Regenerate", exact=True)).to_have_count(1)


def test_reduced_motion_is_respected(open_context: OpenContext, server: Server) -> None:
    agent = server.create_agent("Slow", "slow")
    chat = Chat(open_context(reduced_motion="reduce").new_page())
    chat.open(server.create_conversation("Still", agent_id=agent)).ask(words(100))
    assert chat.page.evaluate("document.getAnimations().length") == 0
    chat.button("Stop").click()
