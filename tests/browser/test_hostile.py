"""Text by people is shown as text, whatever it contains; text by models is Markdown, and nothing else."""

from __future__ import annotations

import pytest
from playwright.sync_api import Dialog, Page, expect

from tests.browser.chat import ECHO, Chat, words
from tests.browser.conftest import Server

pytestmark = pytest.mark.browser

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>",
    '"><iframe src="javascript:alert(4)"></iframe><style>*{display:none}</style>',
    "[click](javascript:alert(5)) <a href='javascript:alert(6)'>me</a> javascript:alert(7)",
    "</div></main><h1>Gone</h1><!-- {{7*7}} ${7*7} &lt;b&gt; &amp; \\u003cb\\u003e",
    "abc \u202egnp.exe\u202c \u2066\u2067 \u200f\u200e \ufeff \u0301\u0301\u0301 \U0001f600\U0001f3fd \u2028 end",
)


@pytest.fixture
def dialogs(page: Page) -> list[str]:
    """The texts of all dialogs, which only an injected script would open."""
    texts: list[str] = []

    def note(dialog: Dialog) -> None:
        texts.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note)
    return texts


# The fourth text as Markdown renders it. The others are the same in Markdown.
RENDERED = {HOSTILE[3]: "</div></main><h1>Gone</h1><!-- {{77}} ${77} <b> & \\u003cb\\u003e"}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_text(page: Page, server: Server, dialogs: list[str], text: str) -> None:
    server.until_rendered(text)
    agent = server.create_agent(text[:60], "slow")
    conversation_id = server.create_conversation(text[:190], text, text, agent_id=agent)
    chat = Chat(page).open(conversation_id)
    expect(chat.messages).to_have_count(2)
    assert chat.questions.text_content() == text
    assert chat.answers.text_content() == RENDERED.get(text, text)
    chat.ask(f"{text} {words(200)}")
    chat.button("Stop").click()
    expect(chat.send).to_be_visible()
    page.reload()
    expect(chat.messages.first).to_be_visible()
    assert chat.questions.first.text_content() == text
    assert chat.main.locator("script, img, iframe, style, a, h1, svg:not(.icon)").count() == 0
    assert dialogs == []


def test_line_of_100_kilobytes_does_not_widen_the_page(page: Page, server: Server) -> None:
    line = "x" * (100_000 - len(ECHO))
    chat = Chat(page).open(server.create_conversation("Broad"))
    chat.box.fill(line)
    chat.send.click()
    chat.until_answered()
    assert chat.answers.text_content() == ECHO + line
    scroller = page.get_by_role("region", name="Broad")
    assert scroller.evaluate("(node) => node.scrollWidth <= node.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(chat.button("Regenerate")).to_be_in_viewport()


def test_right_to_left_title_does_not_turn_the_page_around(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("\u202e\u2067 reversed", "a", "b")
    chat = Chat(page).open(conversation_id)
    heading = page.get_by_role("heading", level=1)
    place, options = heading.bounding_box(), chat.button("Options").last.bounding_box()
    assert place and options and place["x"] < options["x"]
