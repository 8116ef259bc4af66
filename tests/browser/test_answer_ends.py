"""How answers end: what is known of them, thinking, limits, failures, and what people can do then."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.acting_model import ActingModel
from tests.browser.chat import Chat, unique_word, words
from tests.browser.conftest import OpenContext, Server
from tests.kit.in_thread import InThread

pytestmark = pytest.mark.browser


@pytest.fixture
def agent(server: Server) -> str:
    return server.create_agent("Actor", "acting")


def test_details_of_an_answer_are_shown_on_demand_and_move_nothing(
    page: Page, open_context: OpenContext, server: Server, agent: str
) -> None:
    chat = Chat(page).open(server.create_conversation("Details", agent_id=agent)).ask("a question").until_answered()
    details = page.get_by_role("button", name=re.compile("^Details, "))
    text = page.get_by_text(re.compile(r"^Actor · stage · 3 tokens · \d+\.\d s$"))
    expect(text).to_be_hidden()
    before = chat.answers.bounding_box()
    details.hover()
    expect(text).to_be_visible()
    assert chat.answers.bounding_box() == before
    chat.box.hover()
    expect(text).to_be_hidden()
    details.focus()
    page.keyboard.press("Enter")
    expect(text).to_be_visible()
    page.keyboard.press("Escape")
    expect(details).to_have_attribute("aria-expanded", "false")

    phone = Chat(open_context(viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True).new_page())
    phone.open(chat.conversation_id)
    touched = phone.page.get_by_role("button", name=re.compile("^Details, "))
    touched.tap()
    expect(phone.page.get_by_text(re.compile("^Actor · stage"))).to_be_in_viewport(ratio=1)
    for button in [touched, *phone.messages.last.get_by_role("button").all()]:
        box = button.bounding_box()
        assert box and box["width"] >= 44 and box["height"] >= 44


def test_thinking_is_open_while_it_runs_and_kept_folded_away(
    page: Page, server: Server, agent: str, acting_model: InThread[ActingModel]
) -> None:
    chat = Chat(page).open(server.create_conversation("Deep", agent_id=agent))
    chat.box.fill("think of it")
    chat.send.click()
    expect(chat.main.get_by_text("Six times")).to_be_visible()
    expect(chat.main.get_by_text("Thinking", exact=True)).to_be_visible()
    acting_model.run(acting_model.part.let_go())
    chat.until_answered()
    thoughts = chat.main.get_by_text("Six times seven.")
    expect(thoughts).to_be_hidden()
    chat.main.get_by_text(re.compile(r"^Thought for \d+ s$")).click()
    expect(thoughts).to_be_visible()
    page.reload()
    expect(thoughts).to_be_hidden()
    chat.main.get_by_text(re.compile(r"^Thought for \d+ s$")).click()
    expect(thoughts).to_be_visible()

    chat.box.fill("think of it again")
    chat.send.click()
    for _ in range(2):  # Closed and opened by hand, it stays open.
        chat.main.get_by_text("Thinking", exact=True).click()
    acting_model.run(acting_model.part.let_go())
    chat.until_answered()
    expect(thoughts).to_have_count(2)
    expect(thoughts.last).to_be_visible()


def test_answer_that_reached_its_limit_is_continued(page: Page, server: Server, agent: str) -> None:
    chat = Chat(page).open(server.create_conversation("Limited", agent_id=agent)).ask("limit this").until_answered()
    expect(chat.main.get_by_text("The answer reached its limit.")).to_be_visible()
    page.reload()
    expect(chat.main.get_by_text("The answer reached its limit.")).to_be_visible()
    chat.box.fill("a draft")
    chat.button("Continue").focus()
    page.keyboard.press("Enter")
    expect(chat.box).to_be_focused()
    expect(chat.questions).to_have_text(["limit this", "Continue."])
    chat.until_answered()
    expect(chat.answers.last).to_contain_text("to Continue.")
    expect(chat.main.get_by_text("The answer reached its limit.")).to_have_count(1)
    expect(chat.button("Continue")).to_have_count(0)
    expect(chat.box).to_have_value("a draft")


def test_answer_that_broke_off_stays_until_it_is_asked_for_again(
    page: Page, open_context: OpenContext, server: Server, agent: str
) -> None:
    chat = Chat(page).open(server.create_conversation("Broken", agent_id=agent))
    chat.box.fill("break it")
    chat.send.click()
    expect(chat.alert).to_contain_text("The model's answer broke off")
    expect(chat.answers).to_have_text(["Answer 1 to break it"])
    page.reload()
    reason = chat.main.get_by_text("The model's answer broke off")
    expect(reason).to_be_visible()
    expect(chat.answers).to_have_text(["Answer 1 to break it"])
    other = Chat(open_context().new_page()).open(chat.conversation_id)
    expect(other.main.get_by_text("The model's answer broke off")).to_be_visible()
    expect(other.answers).to_have_count(0)

    chat.button("Retry").click()
    chat.until_answered()
    expect(chat.answers).to_have_text(["Answer 2 to break it"])
    expect(reason).to_have_count(0)
    expect(other.answers).to_have_text(["Answer 2 to break it"])
    assert [message["failure"] for message in server.messages(chat.conversation_id)] == [None, None]


def test_failure_is_no_alert_any_more_when_the_conversation_goes_on(page: Page, server: Server, agent: str) -> None:
    chat = Chat(page).open(server.create_conversation("Broken before", agent_id=agent))
    chat.box.fill(f"break it {unique_word()}")
    chat.send.click()
    expect(chat.alert).to_contain_text("The model's answer broke off")
    chat.box.fill("another question")
    chat.send.click()
    chat.until_answered()
    expect(chat.main.get_by_text("The model's answer broke off")).to_be_visible()
    expect(chat.alert).to_have_count(0)


def test_mark_of_a_running_answer_moves_in_pauses_only(
    page: Page, server: Server, agent: str, acting_model: InThread[ActingModel]
) -> None:
    """An animation costs the browser as much as the words."""
    moving = "document.querySelector('.running') && document.getAnimations().length"
    slow = server.create_agent("Slow", "slow")
    chat = Chat(page).open(server.create_conversation("Flowing", agent_id=slow)).ask(words(400))
    assert page.evaluate(moving) == 0
    chat.button("Stop").click()
    chat.open(server.create_conversation("Pausing", agent_id=agent))
    chat.box.fill("wait a moment")
    chat.send.click()
    expect(chat.answers).to_have_text(["A moment"])
    page.wait_for_function(f"() => ({moving}) === 1")
    acting_model.run(acting_model.part.let_go())
    chat.until_answered()
    assert page.evaluate("document.getAnimations().length") == 0


def test_failure_that_would_come_again_says_what_to_do_instead(page: Page, server: Server, agent: str) -> None:
    understudy = server.create_agent("Understudy", "slow")
    chat = Chat(page).open(server.create_conversation("Denied", agent_id=agent))
    chat.box.fill("deny it")
    chat.send.click()
    expect(chat.alert).to_contain_text("Only the operator of this server can change the key")
    expect(chat.button("Retry")).to_have_count(0)
    page.reload()
    expect(chat.main.get_by_text("Only the operator of this server can change the key")).to_be_visible()
    expect(chat.button("Retry")).to_have_count(0)
    chat.button("Answer with another agent").focus()
    page.keyboard.press("Enter")
    page.get_by_role("menuitem", name="Understudy").first.click()
    chat.until_answered()
    expect(chat.answers).to_have_text(["Echo from agent: deny it"])
    expect(chat.box).to_be_focused()
    assert server.call("GET", f"/conversations/{chat.conversation_id}")["agentId"] == understudy

    # A finished answer can be had from another agent, too; the one before is a version.
    chat.button("Answer with another agent").click()
    page.get_by_role("menuitem", name="Actor").first.click()
    expect(chat.main.get_by_text("Only the operator of this server can change the key")).to_be_visible()
    chat.messages.first.get_by_role("button", name="Previous version").click()
    expect(chat.answers).to_have_text(["Echo from agent: deny it"])

    chat.box.fill("overflow now")
    chat.send.click()
    expect(chat.alert).to_contain_text("too long")
    expect(chat.button("Retry")).to_have_count(0)
    chat.main.get_by_role("link", name="New conversation").click()
    expect(page).to_have_url(re.compile("/$"))
