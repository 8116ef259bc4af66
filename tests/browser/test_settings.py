"""Settings: chosen once, kept, followed by all tabs at once, and in force before the page is seen."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.chat import Chat
from tests.browser.conftest import OpenContext, Server
from tests.browser.held import until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def browser(whole_browser: Browser) -> Browser:
    return whole_browser


def choose(page: Page, setting: str, choice: str) -> None:
    page.get_by_role("radiogroup", name=setting).get_by_text(choice, exact=True).click()


def root(page: Page) -> Locator:
    return page.locator("html")


def open_settings(page: Page) -> Locator:
    Chat(page).button("Settings").click()
    dialog = page.get_by_role("dialog", name="Settings")
    expect(dialog).to_be_visible()
    return dialog


def test_look_and_send_key_are_kept_and_followed_by_another_tab(open_context: OpenContext, server: Server) -> None:
    context = open_context(color_scheme="light")
    page, other = context.new_page(), context.new_page()
    chat, other_chat = Chat(page).open(), Chat(other).open()
    expect(root(page)).to_have_css("color-scheme", "light dark")
    dialog = open_settings(page)
    choose(page, "Theme", "Dark")
    choose(page, "Text size", "Largest")
    choose(page, "Send with", "Ctrl+Enter")
    for one in (page, other):
        expect(root(one)).to_have_css("color-scheme", "dark")
        expect(root(one)).to_have_css("font-size", "20px")

    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(chat.button("Settings")).to_be_focused()

    other_chat.box.fill("one")
    other_chat.box.press("Enter")
    other_chat.box.type("two")
    expect(other_chat.box).to_have_value("one\ntwo")
    other_chat.box.press("Control+Enter")
    expect(other_chat.questions).to_have_text("one\ntwo")
    other_chat.until_answered()

    # After a reload they are in force before the first module is there.
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/js/main.js", hold)
    page.goto("/", wait_until="commit")
    until(page, lambda: bool(held))
    expect(root(page)).to_have_css("color-scheme", "dark")
    expect(root(page)).to_have_css("font-size", "20px")
    held[0].continue_()
    expect(page.get_by_role("heading", level=1)).not_to_be_empty()  # the buttons work from then on

    open_settings(page)
    expect(page.get_by_role("radio", name="Dark")).to_be_checked()
    expect(page.get_by_role("radio", name="Ctrl+Enter")).to_be_checked()
    choose(page, "Theme", "System")
    for one in (page, other):
        expect(root(one)).to_have_css("color-scheme", "light dark")
    page.mouse.click(5, 5)  # beside the dialog
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_language_is_changed_in_all_tabs_and_the_settings_stay_open(open_context: OpenContext, server: Server) -> None:
    context = open_context(locale="en-GB")
    page, other = context.new_page(), context.new_page()
    Chat(page).open()
    Chat(other).open().box.fill("a draft")
    open_settings(page).get_by_role("combobox", name="Language").select_option("Deutsch")
    dialog = page.get_by_role("dialog", name="Einstellungen")
    expect(dialog).to_be_visible()
    for one in (page, other):
        expect(root(one)).to_have_attribute("lang", re.compile("^de"))
        expect(one.get_by_role("heading", level=1)).to_have_text("Neue Unterhaltung")
    expect(other.get_by_role("textbox", name="Nachricht", exact=True)).to_have_value("a draft")

    dialog.get_by_role("combobox", name="Sprache").select_option("العربية")
    for one in (page, other):
        expect(root(one)).to_have_attribute("dir", "rtl")
        expect(one.get_by_role("heading", level=1)).to_have_text("محادثة جديدة")
    page.get_by_role("combobox", name="اللغة").select_option("")
    for one in (page, other):
        expect(root(one)).to_have_attribute("lang", "en-GB")
        expect(root(one)).to_have_attribute("dir", "ltr")


def test_notifications_are_asked_for_by_a_click_only(open_context: OpenContext, server: Server) -> None:
    context = open_context()
    page = context.new_page()
    page.add_init_script(
        "window.asked = 0; const ask = Notification.requestPermission;"
        "Notification.requestPermission = () => { window.asked++; return ask.call(Notification); }"
    )
    Chat(page).open()
    open_settings(page)
    switch = page.get_by_role("switch", name="Notifications")
    expect(switch).not_to_be_checked()
    assert page.evaluate("asked") == 0
    context.grant_permissions(["notifications"])
    switch.check()
    expect(switch).to_be_checked()
    page.reload()
    open_settings(page)
    expect(switch).to_be_checked()
    assert page.evaluate("asked") == 0
    switch.uncheck()
    page.reload()
    open_settings(page)
    expect(switch).not_to_be_checked()
