"""The page in German, without a word of English, and in Arabic, from right to left."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.chat import unique_word
from tests.browser.conftest import Complaints, OpenContext, Server
from tests.unit.test_languages import translations

pytestmark = [pytest.mark.browser, pytest.mark.npm]

# All texts and names that can be seen or heard, except what people, models and the clock have written.
VISIBLE = """() => {
  const data = "time, kbd, .content, .conversation-link, .agent-name, .agent-note, .palette-name bdi, .palette-note, "
    + "option, textarea, .origin, .found a, #title, #announcer, [translate=no]";
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const owner = node.parentElement;
    if (node.nodeValue.trim() && owner.checkVisibility({visibilityProperty: true}) && !owner.closest(data))
      found.push(node.nodeValue.trim());
  }
  for (const name of ["aria-label", "placeholder", "title"])
    for (const node of document.querySelectorAll(`body [${name}]`))
      if (node.checkVisibility({visibilityProperty: true}) && !node.matches("time, article, #title, a"))
        found.push(node.getAttribute(name).trim());
  return found;
}"""


def pattern(text: str) -> str:
    """A regular expression for a text with any values in place of its placeholders."""
    return "".join(".+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", text))


def expect_german(page: Page, known: re.Pattern[str]) -> None:
    foreign = [text for text in page.evaluate(VISIBLE) if not known.fullmatch(text)]
    assert foreign == []


def test_german_page_has_no_english_text(open_context: OpenContext, server: Server) -> None:
    german = [
        form
        for entry in translations("de").values()
        for form in ([entry] if isinstance(entry, str) else entry.values())
    ]
    # Numbers and separators belong to no language; "none" is the model of this server's providers.
    known = re.compile("|".join([*map(pattern, german), r"[\d.,:%\s\u2009/·+–-]*", "none"]))
    word = unique_word()
    conversation_id = server.create_conversation(word, f"{word} one", f"{word} two")
    server.create_agent(f"Agent {word}", "slow")
    page = open_context(locale="de-AT").new_page()
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("lang", "de-AT")
    expect(page.get_by_role("heading", level=1)).to_have_text("Neue Unterhaltung")
    expect(page.get_by_role("link", name=word, exact=True)).to_be_visible()
    expect_german(page, known)

    page.goto(f"/c/{conversation_id}")
    expect(page.get_by_role("article")).to_have_count(2)
    box = page.get_by_role("textbox", name="Nachricht", exact=True)
    box.fill("hallo")
    box.press("Enter")
    expect(page.get_by_role("article")).to_have_count(4)
    expect(page.get_by_role("button", name="Neu beantworten")).to_be_visible()
    expect_german(page, known)

    page.get_by_role("banner").get_by_role("button", name="Optionen").click()
    expect(page.get_by_role("menuitem").first).to_be_visible()
    expect_german(page, known)
    page.get_by_role("menuitem", name="Umbenennen").click()
    expect(page.get_by_role("textbox", name="Titel")).to_be_visible()
    expect_german(page, known)
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Einstellungen").click()
    expect_german(page, known)
    page.get_by_role("button", name="Tastenkürzel").click()
    shortcuts = page.get_by_role("dialog", name="Tastenkürzel")
    expect(shortcuts).to_be_visible()  # else it would open behind the next key
    expect_german(page, known)
    page.keyboard.press("Escape")
    expect(shortcuts).to_be_hidden()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("option").first).to_be_visible()
    expect_german(page, known)
    page.keyboard.press("Escape")

    page.get_by_role("combobox", name="Agent", exact=True).click()
    expect(page.get_by_role("option").first).to_be_visible()
    expect_german(page, known)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Agenten", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("listitem").first).to_be_visible()
    expect_german(page, known)
    dialog.get_by_role("button", name="Neuer Agent").click()
    expect_german(page, known)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()

    page.get_by_role("searchbox").fill(word)
    expect(page.locator("mark").first).to_be_visible()
    expect_german(page, known)


@pytest.fixture
def arabic(open_context: OpenContext) -> BrowserContext:
    return open_context(locale="ar-EG")


def test_arabic_page_is_written_from_right_to_left(arabic: BrowserContext, server: Server) -> None:
    word = unique_word()
    conversation_id = server.create_conversation(word, "one", "two")
    page = arabic.new_page()
    page.goto(f"/c/{conversation_id}")
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.get_by_role("article")).to_have_count(2)

    def left(selector: str) -> float:
        box = page.locator(selector).first.bounding_box()
        assert box
        return box["x"]

    assert left("#sidebar") > left("#thread")
    assert left("#send") < left("#agent")
    assert page.evaluate("getComputedStyle(document.querySelector('#message')).direction") == "rtl"
    # What is written in another script keeps its direction.
    assert page.evaluate("getComputedStyle(document.querySelector('.user .content')).direction") == "ltr"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("banner").get_by_role("button", name="خيارات").click()
    menu = page.get_by_role("menu").bounding_box()
    assert menu and menu["x"] >= 0


def test_page_is_english_if_its_texts_cannot_be_loaded(
    arabic: BrowserContext, server: Server, complaints: Complaints
) -> None:
    page = arabic.new_page()

    def refuse(route: Route) -> None:
        route.abort()

    page.route("**/languages/ar.js", refuse)
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("New conversation")
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("dir", "ltr")
    complaints.forgive()
