"""The page of help: reached from the chat's own server, true, usable by keyboard, and without axe violations."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Response, expect

from tests.browser.chat import Chat
from tests.browser.conftest import OpenContext, Server
from tests.browser.test_axe import SCREENS, violations

pytestmark = [pytest.mark.browser, pytest.mark.npm]


@pytest.mark.parametrize("screen", SCREENS)
def test_help_shows_how_a_model_is_connected(open_context: OpenContext, server: Server, screen: str) -> None:
    page = open_context(permissions=["clipboard-read", "clipboard-write"], **SCREENS[screen]).new_page()
    elsewhere: list[str] = []

    def note(response: Response) -> None:
        if not response.url.startswith(server.url):
            elsewhere.append(response.url)

    page.on("response", note)
    page.goto("/help")
    expect(page.get_by_role("heading", level=1, name="Connect a model")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Agents answer with their models; without an agent, Echo answers.")
    for command in ("--local-model", "--provider openai", "--provider anthropic", "--provider ollama", "--config"):
        expect(page.locator("pre", has_text=f"scripts/serve {command}")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    ollama = page.locator(".command", has_text="ollama pull")
    ollama.get_by_role("button", name="Copy").press("Enter")
    expect(page.locator("#announcer")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "ollama pull llama3.2\nscripts/serve --provider ollama"

    page.get_by_role("link", name="Back to the chat").click()
    expect(Chat(page).send).to_be_visible()
    assert elsewhere == []


def test_help_is_readable_without_scripts(open_context: OpenContext) -> None:
    page: Page = open_context(java_script_enabled=False).new_page()
    page.goto("/help")
    expect(page.get_by_text("scripts/serve --local-model")).to_be_visible()
    expect(page.get_by_role("status")).to_be_hidden()
