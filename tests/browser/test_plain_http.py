"""The page over plain HTTP in a LAN, where browsers offer no Web Locks and no clipboard."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Request, expect

from tests.browser.chat import ECHO, Chat, words
from tests.browser.conftest import LAN_HOST, Complaints, OpenContext, Server

pytestmark = pytest.mark.browser


@pytest.fixture
def context(open_context: OpenContext, server: Server) -> BrowserContext:
    return open_context(base_url=f"http://{LAN_HOST}:{urlsplit(server.url).port}")


@pytest.fixture(autouse=True)
def _policy_that_is_of_no_use_here(complaints: Complaints) -> Iterator[None]:
    """Chromium says of each page over plain HTTP that it cannot isolate its window."""
    yield
    ignored = "The Cross-Origin-Opener-Policy header has been ignored"
    complaints.texts[:] = [text for text in complaints.texts if not text.startswith(ignored)]


def test_conversation_and_copying_work_over_plain_http(context: BrowserContext, server: Server) -> None:
    page = context.new_page()
    chat = Chat(page).open()
    assert page.evaluate("[isSecureContext, 'locks' in navigator, 'clipboard' in navigator]") == [False, False, False]
    chat.ask("Good morning").until_answered()
    chat.ask("one\n  two").until_answered()
    expect(chat.answers).to_have_text([f"{ECHO}Good morning", f"{ECHO}one two"])
    chat.button("Copy").last.click()
    expect(page.locator("[aria-live=polite]")).to_have_text("Copied")
    chat.box.press("ControlOrMeta+v")
    expect(chat.box).to_have_value(f"{ECHO}one\n  two")
    page.reload()
    expect(chat.messages).to_have_count(4)
    assert len(server.messages(chat.conversation_id)) == 4


def test_each_tab_reads_the_answer_itself_over_plain_http(context: BrowserContext, server: Server) -> None:
    conversation_id = server.create_conversation("Two", agent_id=server.create_agent("Slow", "slow"))
    streams: list[Request] = []
    context.on("request", lambda request: streams.append(request) if "/stream?" in request.url else None)
    first, second = (Chat(context.new_page()).open(conversation_id) for _ in range(2))
    first.ask(words(300))
    for mark in ("word2 ", "word12 "):
        for chat in (first, second):
            expect(chat.answers).to_contain_text(mark)
    assert {request.frame.page for request in streams} == {first.page, second.page}
    second.button("Stop").click()
    for chat in (first, second):
        expect(chat.main.get_by_text("stopped", exact=True)).to_be_visible()
        expect(chat.send).to_be_visible()
    kept = server.messages(conversation_id)[1]["content"]
    for chat in (first, second):
        expect(chat.answers).to_have_text([kept.strip()])
