"""Versions of answers and of edited questions: none is lost, and people leaf through them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, Request, expect

from tests.browser.acting_model import ActingModel
from tests.browser.chat import Chat, listen, spoken
from tests.browser.conftest import Complaints, OpenContext, Server
from tests.browser.held import Held, until
from tests.browser.test_beginning import long_conversation, numbers
from tests.kit.in_thread import InThread

pytestmark = pytest.mark.browser


@pytest.fixture
def agent(server: Server) -> str:
    return server.create_agent("Actor", "acting")


def pager(message: Locator, number: int, count: int) -> Locator:
    return message.get_by_role("group", name=f"Version {number} of {count}", exact=True)


def previous(message: Locator) -> Locator:
    return message.get_by_role("button", name="Previous version")


def following(message: Locator) -> Locator:
    return message.get_by_role("button", name="Next version")


# From now on the page notes if the message is ever not in it.
WATCH = """(message) => {
  window.vanished = false;
  const look = () => (window.vanished ||= !message.isConnected);
  new MutationObserver(look).observe(document.querySelector("main"), {childList: true, subtree: true});
}"""


def y_of(element: Locator) -> float:
    box = element.bounding_box()
    assert box
    return box["y"]


def test_former_answer_comes_back_with_its_continuation(
    page: Page, open_context: OpenContext, server: Server, agent: str, acting_model: InThread[ActingModel]
) -> None:
    chat = Chat(page).open(server.create_conversation("Versions", agent_id=agent))
    question = "long and regenerated"
    chat.ask(question).until_answered()
    chat.ask("Follow-up of one").until_answered()
    chat.button("Edit").nth(1).click()
    page.get_by_role("textbox", name="Edit message").fill("wait for it")
    chat.send_edited.click()
    expect(chat.answers.last).to_have_text("A moment")
    second = chat.messages.nth(3)
    expect(second.get_by_role("group")).to_have_count(0)
    acting_model.run(acting_model.part.let_go())
    chat.until_answered()
    expect(pager(second, 2, 2)).to_be_visible()

    chat.ask("And then?").until_answered()
    listen(page)
    previous(second).focus()
    page.keyboard.press("Enter")
    expect(chat.questions).to_have_text([question, "Follow-up of one"])
    expect(chat.answers.nth(1)).to_have_text("Answer 1 to Follow-up of one")
    expect(previous(second)).to_be_focused()
    expect(previous(second)).to_have_attribute("aria-disabled", "true")
    assert "Version 1 of 2" in spoken(page)
    page.keyboard.press("Enter")  # There is no version before.
    page.reload()
    expect(chat.answers).to_have_count(2)
    expect(pager(second, 1, 2)).to_be_visible()

    other = Chat(open_context().new_page()).open(chat.conversation_id)
    expect(other.answers).to_have_count(2)
    following(second).click()
    for one in (chat, other):
        expect(one.questions).to_have_text([question, "wait for it", "And then?"])
        expect(one.answers.last).to_have_text("Answer 1 to And then?")
        expect(pager(one.messages.nth(3), 2, 2)).to_be_visible()
    stored = [message["content"] for message in server.messages(chat.conversation_id) if message["role"] == "assistant"]
    assert len(stored) == 3
    expect(chat.alert).to_have_count(0)


def test_edit_of_the_first_of_many_messages_keeps_it_in_view(page: Page, server: Server) -> None:
    count = 300
    chat = Chat(page).open(long_conversation(server, "Edited far up", count))
    expect(chat.message(f"turn {count}")).to_be_in_viewport()
    page.get_by_role("region", name="Edited far up").focus()
    page.keyboard.press("Home")
    expect(chat.message("turn 1")).to_be_in_viewport()
    further_pages: list[str] = []

    def note(request: Request) -> None:
        if "/messages?" in request.url and "cursor=" in request.url:
            further_pages.append(request.url)

    chat.message("turn 1").get_by_role("button", name="Edit", exact=True).click()
    page.get_by_role("textbox", name="Edit message").fill("changed")
    chat.messages.first.evaluate(WATCH)
    page.on("request", note)
    chat.send_edited.click()
    expect(chat.questions).to_have_text(["changed"])
    chat.until_answered()
    first, answer = chat.messages.nth(0), chat.messages.nth(1)
    expect(pager(answer, 2, 2)).to_be_visible()
    expect(chat.questions).to_have_text(["changed"])
    expect(first).to_be_in_viewport()
    assert not page.evaluate("window.vanished")
    page.reload()
    expect(pager(answer, 2, 2)).to_be_visible()
    expect(first).to_be_in_viewport()
    # As everywhere, one list is enough: what the edit superseded is not in it.
    assert further_pages == []

    # What comes back is longer than what a list brings.
    page.remove_listener("request", note)
    previous(answer).click()
    expect(answer.locator(".content")).to_have_text("turn 2 ,")
    expect(pager(answer, 1, 2)).to_be_in_viewport()
    expect(previous(answer)).to_be_focused()
    assert numbers(chat)[1:] == list(range(2, count + 1))
    following(answer).click()
    expect(pager(answer, 2, 2)).to_be_in_viewport()
    expect(chat.questions).to_have_text(["changed"])
    expect(chat.alert).to_have_count(0)


def test_version_is_shown_where_the_other_one_was(page: Page, server: Server, agent: str) -> None:
    chat = Chat(page).open(server.create_conversation("In its place", agent_id=agent))
    chat.ask("long enough").until_answered()
    chat.ask("long after one").until_answered()
    chat.button("Edit").first.click()
    page.get_by_role("textbox", name="Edit message").fill("briefly")
    chat.send_edited.click()
    expect(chat.answers).to_have_text(["Answer 1 to briefly"])
    chat.until_answered()
    chat.ask("long after two").until_answered()
    answer = chat.messages.nth(1)
    answer.evaluate("(node) => node.scrollIntoView({block: 'center'})")
    expect(chat.button("Jump to the end")).to_be_visible()
    place = y_of(pager(answer, 2, 2))
    for step, number, content in ((previous, 1, "long after one"), (following, 2, "long after two")) * 2:
        step(answer).click()
        expect(pager(answer, number, 2)).to_be_visible()
        expect(chat.questions.last).to_have_text(content)
        page.wait_for_function("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert abs(y_of(pager(answer, number, 2)) - place) < 2


def test_wording_of_an_edited_question_comes_back(page: Page, server: Server, agent: str) -> None:
    chat = Chat(page).open(server.create_conversation("Wordings", agent_id=agent)).ask("first try").until_answered()
    chat.button("Edit").click()
    page.get_by_role("textbox", name="Edit message").fill("second try")
    chat.send_edited.click()
    expect(chat.answers).to_have_text(["Answer 1 to second try"])
    chat.until_answered()
    question, answer = chat.messages.first, chat.messages.last
    expect(pager(answer, 2, 2)).to_be_visible()
    expect(previous(question)).to_have_count(0)  # One pager leafs through both.
    previous(answer).click()
    expect(chat.questions).to_have_text(["first try"])
    expect(chat.answers).to_have_text(["Answer 1 to first try"])
    expect(question.get_by_text("edited", exact=True)).to_have_count(0)
    expect(previous(answer)).to_be_focused()
    following(answer).click()
    expect(chat.questions).to_have_text(["second try"])
    expect(question.get_by_text("edited", exact=True)).to_be_visible()
    page.reload()
    expect(chat.answers).to_have_text(["Answer 1 to second try"])
    previous(answer).click()
    expect(chat.questions).to_have_text(["first try"])


def test_version_that_another_one_changed_meanwhile_ends_well(
    page: Page,
    open_context: OpenContext,
    server: Server,
    agent: str,
    acting_model: InThread[ActingModel],
    complaints: Complaints,
) -> None:
    chat = Chat(page).open(server.create_conversation("Contested", agent_id=agent)).ask("wanted").until_answered()
    chat.button("Regenerate").click()
    answer = chat.messages.nth(1)
    expect(pager(answer, 2, 2)).to_be_visible()
    other = Chat(open_context().new_page()).open(chat.conversation_id)
    held = Held(page, "**/restore", "POST")
    previous(answer).click()
    held.until(1)
    previous(other.messages.last).click()
    expect(pager(other.messages.last, 1, 2)).to_be_visible()
    listen(page)
    with page.expect_response("**/restore") as answered:
        held.let_go()
    assert answered.value.status == 404  # It is live already.
    until(page, lambda: "Version 1 of 2" in spoken(page))
    expect(chat.answers).to_have_text(["Answer 1 to wanted"])
    expect(chat.alert).to_have_count(0)

    page.unroute_all()
    held = Held(page, "**/restore", "POST")
    following(answer).click()
    held.until(1)
    other.ask("wait a little")
    with page.expect_response("**/restore") as answered:
        held.let_go()
    assert answered.value.status == 409  # An answer is being generated.
    expect(chat.alert).to_contain_text("An answer is being generated in this conversation")
    expect(chat.answers.last).to_have_text("A moment")
    expect(following(answer)).to_have_attribute("aria-disabled", "true")
    acting_model.run(acting_model.part.let_go())
    chat.until_answered()
    following(answer).click()
    expect(chat.answers).to_have_text(["Answer 2 to wanted"])
    expect(chat.alert).to_have_count(0)
    reported = [re.findall(r"status of (\d+)", text) for text in complaints.texts]
    assert sorted(reported) == [["404"], ["409"]]
    complaints.forgive()
