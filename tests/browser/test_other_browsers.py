"""The core of the page in Firefox and WebKit: load, send, stream, reload in mid-answer, stop, edit, search."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.chat import ECHO, unique_word, words
from tests.browser.conftest import Server
from tests.kit.firefox import firefox
from tests.kit.in_thread import in_thread
from tests.kit.remote_page import RemotePage
from tests.kit.webkit import webkit
from tests.needs import WEBKIT_DRIVER, firefox_program

pytestmark = [pytest.mark.browser, pytest.mark.other_browsers]

ANSWER = "document.querySelector('main .assistant:last-of-type .content')?.textContent.trim()"
ANSWERS = "[...document.querySelectorAll('main .assistant .content')].map((node) => node.textContent.trim())"
QUESTIONS = "[...document.querySelectorAll('main .user .content')].map((node) => node.textContent.trim())"
# The page shows a conversation, and its scripts run.
READY = "document.querySelector('h1').textContent && !document.querySelector('#message').disabled"
# Each text that the answer ever shows, and whether each is a beginning of the whole.
WATCH = """(() => {
  window.seen = [];
  const look = () => {
    for (const node of document.querySelectorAll("main .assistant .content")) window.seen.push(node.textContent.trim());
  };
  const everything = {childList: true, subtree: true, characterData: true};
  new MutationObserver(look).observe(document.querySelector("main"), everything);
})()"""


@pytest.fixture(scope="module", params=["firefox", "webkit"])
def remote_page(request: pytest.FixtureRequest, server: Server) -> Iterator[RemotePage]:
    if request.param == "firefox":
        launched = in_thread(lambda: firefox(firefox_program() or ""))
    else:
        launched = in_thread(lambda: webkit(WEBKIT_DRIVER))
    with launched as driver:
        yield RemotePage(driver, server.url)


def test_core_flow(remote_page: RemotePage, server: Server) -> None:
    page = remote_page
    word = unique_word()
    whole = ECHO + words(150)

    # load, send
    conversation_id = server.create_conversation(None, agent_id=server.create_agent("Slow", "slow"))
    page.open(f"/c/{conversation_id}")
    page.wait(READY)
    page.click("textbox", "Message")
    page.evaluate(WATCH)
    page.write(f"Hello {word}")
    page.press("Enter")
    page.wait(f"{ANSWER} === {f'{ECHO}Hello {word}'!r}")
    page.wait_for("button", "Regenerate")
    assert all(f"{ECHO}Hello {word}".startswith(text) for text in page.evaluate("window.seen"))

    # a long one comes piece by piece; reload in mid-answer: it goes on, and there is one
    page.click("textbox", "Message")
    page.evaluate("window.seen = []")
    page.write(words(150))
    page.press("Enter")
    page.wait("new Set(window.seen).size > 5")
    page.wait(f"{ANSWER}?.includes('word9')")
    page.reload()
    page.wait(f"{ANSWER}?.includes('word30')")
    page.wait(f"{ANSWER} === {whole!r}")
    page.wait_for("button", "Regenerate")
    assert page.evaluate(ANSWERS) == [f"{ECHO}Hello {word}", whole]
    assert [message["role"] for message in server.messages(conversation_id)] == ["user", "assistant"] * 2

    # stop: what was shown is kept
    page.click("textbox", "Message")
    page.write(words(150))
    page.press("Enter")
    page.wait(f"{ANSWERS}.length === 3 && {ANSWER}?.includes('word9')")
    page.click("button", "Stop")
    page.wait_for("button", "Regenerate")
    assert server.messages(conversation_id)[-1]["status"] == "stopped"

    # edit: it is answered anew
    page.click("button", "Edit")
    page.wait("document.activeElement.matches('main .user textarea')")
    page.evaluate("document.activeElement.select()")
    page.write("Changed")
    page.press("Enter")
    page.wait(f"{ANSWER} === {f'{ECHO}Changed'!r}")
    page.wait_for("button", "Regenerate")
    assert page.evaluate(QUESTIONS)[-1] == "Changed"

    # search: the result opens its message
    page.open("/")
    page.wait(READY)
    page.click("searchbox", "Search")
    page.write(word)
    page.wait("document.querySelector('#found mark')?.checkVisibility()")
    page.click("link", f"Hello {word}")
    page.wait(f"location.pathname === '/c/{conversation_id}' && {QUESTIONS}[0] === 'Hello {word}'")
