"""Answers while they are generated: after reloads and lost connections, in hidden and in several tabs."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect

from tests.browser.chat import AT_END, ECHO, Chat, hide, words
from tests.browser.conftest import Complaints, OpenContext, Server
from tests.kit.cutting_proxy import CuttableProxy

pytestmark = pytest.mark.browser

# Checks each state of the answer that is ever shown: it must be a beginning of the whole text.
WATCH = """(whole) => {
  window.wrong = [];
  window.longest = 0;
  new MutationObserver(() => {
    for (const answer of document.querySelectorAll(".assistant .content")) {
      const text = answer.textContent;
      if (!whole.startsWith(text)) window.wrong.push(text);
      window.longest = Math.max(window.longest, text.length);
    }
  }).observe(document.querySelector("main"), {childList: true, subtree: true, characterData: true});
}"""

# Notes changes to blocks of the growing answer behind which there was another block already, unless they are exchanged.
WATCH_BLOCKS = """() => {
  window.touched = 0;
  const finished = new Set();
  new MutationObserver((records) => {
    const content = document.querySelector(".assistant.running .content");
    if (!content) return;
    for (const {target} of records) {
      for (const block of finished) if (target !== content && block.contains(target)) window.touched += 1;
    }
    for (const block of content.querySelectorAll(":scope > :not(:last-child)")) finished.add(block);
  }).observe(document.querySelector("main"), {childList: true, subtree: true, characterData: true});
}"""


@pytest.fixture
def slow_conversation(server: Server) -> str:
    return server.create_conversation("Slow", agent_id=server.create_agent("Slow", "slow"))


def count_streams(context: BrowserContext) -> list[str]:
    """The addresses of all streams that the pages of this browser request from now on."""
    addresses: list[str] = []

    def note(request: Request) -> None:
        if "/stream?" in request.url:
            addresses.append(request.url)

    context.on("request", note)
    return addresses


def test_answer_continues_after_a_reload(page: Page, server: Server, slow_conversation: str) -> None:
    text = words(120)
    chat = Chat(page).open(slow_conversation).ask(text)
    expect(chat.answers).to_contain_text("word5 ")
    page.reload()
    expect(chat.answers).to_contain_text("word5 ")
    page.evaluate(WATCH, ECHO + text)
    expect(chat.button("Stop")).to_be_visible()
    chat.until_answered()
    assert chat.answers.text_content() == ECHO + text
    assert page.evaluate("window.wrong") == []
    assert [message["content"] for message in server.messages(slow_conversation)] == [text, ECHO + text]


def test_cut_connection_resumes_without_lost_or_doubled_words(
    open_context: OpenContext, server: Server, slow_conversation: str, complaints: Complaints
) -> None:
    text = words(120)
    with CuttableProxy(server.url) as proxy:
        page = open_context(base_url=proxy.url).new_page()
        chat = Chat(page).open(slow_conversation)
        page.evaluate(WATCH, ECHO + text)
        chat.ask(text)
        for mark in ("word3 ", "word20 "):
            expect(chat.answers).to_contain_text(mark)
            proxy.cut()
        expect(chat.answers).to_contain_text("word40 ")
        proxy.cut(stay_down=True)
        expect(page.get_by_text("Reconnecting …")).to_be_visible()
        proxy.heal()
        chat.until_answered()
        assert chat.answers.text_content() == ECHO + text
        assert page.evaluate("window.wrong") == []
        expect(page.get_by_text("Reconnecting …")).to_have_count(0)
        expect(chat.alert).to_have_count(0)
        page.close()
    complaints.forgive()  # The browser reports lost connections by itself.


def test_slow_network_changes_only_the_pace(
    open_context: OpenContext, server: Server, slow_conversation: str, complaints: Complaints
) -> None:
    text = words(60)
    with CuttableProxy(server.url) as proxy:
        page = open_context(base_url=proxy.url).new_page()
        chat = Chat(page).open(slow_conversation)
        page.evaluate(WATCH, ECHO + text)
        proxy.delay_seconds = 0.4
        chat.ask(text)
        expect(chat.answers).to_contain_text("word3 ")
        proxy.cut()
        expect(chat.answers).to_contain_text("word20 ")
        page.reload()
        page.evaluate(WATCH, ECHO + text)
        chat.until_answered()
        expect(chat.answers).to_have_text([ECHO + text])
        assert page.evaluate("window.wrong") == []

        chat.button("Edit").click()
        editor = page.get_by_role("textbox", name="Edit message")
        editor.fill("shorter")
        chat.send_edited.dblclick()
        chat.until_answered()
        expect(chat.questions).to_have_text(["shorter"])
        expect(chat.answers).to_have_text([f"{ECHO}shorter"])
        page.close()
    assert [message["content"] for message in server.messages(slow_conversation)] == [text, f"{ECHO}shorter"]
    complaints.forgive()


def test_only_the_last_block_of_a_growing_answer_changes(page: Page, slow_conversation: str) -> None:
    """A browser lays out what changes: with the whole text, each word would cost more than the one before."""
    lines = [f"{number} {'word' * 60}" for number in range(300)]
    text = "".join(line + ("\n\n" if number % 3 else "\n") for number, line in enumerate(lines))
    chat = Chat(page).open(slow_conversation)
    page.evaluate(WATCH_BLOCKS)
    chat.ask(text)
    expect(chat.answers.locator("> p").nth(6)).to_be_attached(timeout=60_000)
    assert page.evaluate("window.touched") == 0
    chat.button("Stop").click()
    expect(chat.main.get_by_text("stopped", exact=True)).to_be_visible()


def test_page_waits_for_a_server_that_is_away(
    open_context: OpenContext, server: Server, complaints: Complaints
) -> None:
    with CuttableProxy(server.url) as proxy:
        page = open_context(base_url=proxy.url).new_page()
        chat = Chat(page).open(server.create_conversation("Patience"))
        expect(chat.link("Patience")).to_be_visible()
        proxy.cut(stay_down=True)
        expect(page.get_by_text("Reconnecting …")).to_be_visible()
        chat.box.fill("Are you there?")
        chat.send.click()
        expect(chat.alert).to_contain_text("Not sent. The server cannot be reached")
        proxy.heal()
        expect(page.get_by_text("Reconnecting …")).to_have_count(0)
        chat.button("Retry").click()
        chat.until_answered()
        page.close()
    complaints.forgive()


def test_two_tabs_show_the_same_answer_at_once(context: BrowserContext, slow_conversation: str) -> None:
    streams = count_streams(context)
    first, second = (Chat(context.new_page()).open(slow_conversation) for _ in range(2))
    expect(second.main).to_be_visible()
    first.ask(words(100))
    for mark in ("word2 ", "word12 "):
        expect(second.answers).to_contain_text(mark, timeout=3000)
        expect(first.answers).to_contain_text(mark)
    expect(first.button("Stop")).to_be_visible()
    assert len(streams) == 1
    second.button("Stop").click()
    for chat in (first, second):
        expect(chat.button("Stop")).to_be_hidden()
        expect(chat.main.get_by_text("stopped", exact=True)).to_be_visible()
    expect(second.answers).to_have_text(first.answers.text_content() or "")
    assert len(streams) == 1


def test_tab_continues_the_answer_that_a_closed_tab_was_reading(
    context: BrowserContext, slow_conversation: str
) -> None:
    text = words(120)
    streams = count_streams(context)
    first, second = (Chat(context.new_page()).open(slow_conversation) for _ in range(2))
    second.page.evaluate(WATCH, ECHO + text)
    first.ask(text)
    expect(second.answers).to_contain_text("word5 ")
    first.page.close()
    second.until_answered()
    assert second.answers.text_content() == ECHO + text
    assert second.page.evaluate("window.wrong") == []
    assert len(streams) == 2
    assert "lastEventId=" in streams[1]


def test_answer_is_seen_in_another_browser(open_context: OpenContext, slow_conversation: str) -> None:
    mine, yours = (Chat(open_context().new_page()).open(slow_conversation) for _ in range(2))
    mine.ask(words(100))
    expect(yours.questions).to_have_text([words(100)], timeout=4000)
    expect(yours.answers).to_contain_text("word")
    expect(mine.button("Stop")).to_be_visible()
    yours.button("Stop").click()
    expect(mine.button("Stop")).to_be_hidden()


def test_stop_is_not_undone_by_other_readers(
    context: BrowserContext, open_context: OpenContext, server: Server, slow_conversation: str
) -> None:
    pages = (context.new_page(), context.new_page(), open_context().new_page())
    chats = [Chat(page).open(slow_conversation) for page in pages]
    chats[0].ask(words(300))
    for chat in chats:
        expect(chat.answers).to_contain_text("word5 ")
    server.call("POST", f"/conversations/{slow_conversation}/stop", {"keep": False})
    for chat in chats:
        expect(chat.main.get_by_text("Stopped before there was an answer.")).to_be_visible()
        expect(chat.send).to_be_visible()
        expect(chat.answers).to_have_count(0)
    assert server.call("GET", f"/conversations/{slow_conversation}")["activeRun"] is None
    assert len(server.messages(slow_conversation)) == 1


def test_eight_tabs_work_over_six_connections(context: BrowserContext, server: Server, slow_conversation: str) -> None:
    chats = [Chat(context.new_page()).open(slow_conversation) for _ in range(8)]
    for chat in chats:
        expect(chat.link("Slow").first).to_be_visible()
    chats[0].ask(words(300))
    for chat in chats:
        expect(chat.answers).to_contain_text("word5 ")
    for chat in chats:
        expect(chat.button("Stop")).to_be_visible()
    chats[-1].button("Stop").click()
    for chat in chats:
        expect(chat.main.get_by_text("stopped", exact=True)).to_be_visible()

    agent = server.create_agent("Slow", "slow")
    for index, chat in enumerate(chats):
        chat.open(server.create_conversation(f"Slow {index}", agent_id=agent))
        chat.box.fill(words(20))
        chat.send.click()
    for chat in chats:
        chat.until_answered()
        assert chat.answers.text_content() == ECHO + words(20)


def test_hidden_tab_holds_no_stream_and_loses_nothing(page: Page, slow_conversation: str) -> None:
    text = words(120)
    streams = count_streams(page.context)
    chat = Chat(page).open(slow_conversation)
    page.evaluate(WATCH, ECHO + text)
    chat.ask(text)
    expect(chat.answers).to_contain_text("word3 ")
    with page.expect_event("requestfailed", lambda request: "/stream?" in request.url):
        hide(page, True)
    with page.expect_request(lambda request: "/stream?" in request.url):
        hide(page, False)
    expect(chat.answers).to_contain_text("word20 ")
    chat.until_answered()
    assert chat.answers.text_content() == ECHO + text
    assert page.evaluate("window.wrong") == []
    assert len(streams) == 2
    assert "lastEventId=" in streams[1]


def test_answer_is_finished_while_its_tab_is_hidden(
    page: Page, server: Server, slow_conversation: str, context: BrowserContext
) -> None:
    chat = Chat(page).open(slow_conversation).ask(words(30))
    hide(page, True)
    other = Chat(context.new_page()).open(slow_conversation).until_answered()
    hide(page, False)
    chat.until_answered()
    assert chat.answers.text_content() == other.answers.text_content() == ECHO + words(30)


def test_answer_continues_while_another_conversation_is_open(
    page: Page, server: Server, slow_conversation: str
) -> None:
    title = f"Elsewhere {slow_conversation}"
    server.call("PATCH", f"/conversations/{slow_conversation}", {"title": title})
    chat = Chat(page).open(slow_conversation).ask(words(150))
    chat.button("New conversation").click()
    chat.ask("quick").until_answered()
    expect(chat.link(title)).to_have_accessible_description("Answering")
    chat.link(title).click()
    expect(chat.answers).to_contain_text("word149", timeout=30_000)
    chat.until_answered()
    assert chat.answers.text_content() == ECHO + words(150)


def test_scrolled_view_is_not_moved_by_an_answer(page: Page, server: Server) -> None:
    turns = [f"turn {number} " + "and more " * 60 for number in range(20)]
    agent = server.create_agent("Slow", "slow")
    chat = Chat(page).open(server.create_conversation("Reading", *turns, agent_id=agent))
    chat.ask("line\n" * 60)
    scroller = page.get_by_role("region", name="Reading")
    expect(chat.answers.last).to_contain_text("line")
    page.wait_for_function(AT_END, arg=scroller.element_handle())

    turn = chat.messages.nth(15)
    turn.scroll_into_view_if_needed()
    place = turn.bounding_box()
    length = len(chat.answers.last.text_content() or "")
    page.wait_for_function(
        "([node, length]) => node.textContent.length > length + 30",
        arg=[chat.answers.last.element_handle(), length],
    )
    assert turn.bounding_box() == place
    chat.button("Jump to the end").click()
    expect(chat.button("Jump to the end")).to_be_hidden()
    chat.button("Stop").click()
    expect(chat.main.get_by_text("stopped", exact=True)).to_be_in_viewport()


def test_tab_tells_others_of_each_word_only_if_they_follow(context: BrowserContext, slow_conversation: str) -> None:
    first, other = (Chat(context.new_page()) for _ in range(2))
    first.open(slow_conversation)
    other.open()
    other.page.evaluate(
        """() => {
          window.told = [];
          new BroadcastChannel("chatserver").onmessage = ({data}) => window.told.push(data.kind);
        }"""
    )
    first.ask(words(200))
    expect(first.answers).to_contain_text("word20 ")
    assert "answering" in other.page.evaluate("window.told")
    assert "event" not in other.page.evaluate("window.told")
    second = Chat(context.new_page()).open(slow_conversation)
    expect(second.answers).to_contain_text("word24 ")
    other.page.wait_for_function("() => window.told.filter((kind) => kind === 'event').length > 1")
    first.until_answered()
    second.until_answered()
    assert second.answers.text_content() == first.answers.text_content()
