"""Choosing an agent and saving an edited message while the network is slow or fails, and HTML that comes late."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.chat import ECHO, Chat
from tests.browser.conftest import COMPANY, Complaints, Server
from tests.browser.held import Held, until
from tests.browser.people import Visit

pytestmark = pytest.mark.browser


def test_last_agent_chosen_is_saved(page: Page, server: Server) -> None:
    first, second = server.create_agent("First choice", "slow"), server.create_agent("Second choice", "slow")
    conversation_id = server.create_conversation("Undecided")
    chat = Chat(page).open(conversation_id)
    held = Held(page, f"**/conversations/{conversation_id}", "PATCH")
    for name in ("First choice", "Second choice", "First choice"):
        chat.choose_agent(name)
    held.until(1)
    held.let_go()
    until(page, lambda: server.call("GET", f"/conversations/{conversation_id}")["agentId"] == first)
    expect(chat.agent).to_have_attribute("value", first)

    held = Held(page, f"**/conversations/{conversation_id}", "PATCH")
    chat.choose_agent("Echo")
    held.until(1)
    chat.choose_agent("Second choice")
    held.let_go()
    until(page, lambda: server.call("GET", f"/conversations/{conversation_id}")["agentId"] == second)
    expect(chat.agent).to_have_attribute("value", second)
    chat.ask("Who?").until_answered()
    assert server.messages(conversation_id)[1]["agentId"] == second


def test_agent_that_could_not_be_saved_shows_error_and_retry(
    page: Page, server: Server, complaints: Complaints
) -> None:
    agent = server.create_agent("Out of reach", "slow")
    conversation_id = server.create_conversation("Stubborn")
    chat = Chat(page).open(conversation_id)
    held = Held(page, f"**/conversations/{conversation_id}", "PATCH")
    chat.choose_agent("Out of reach")
    held.until(1)
    chat.box.fill("Who is there?")
    chat.send.click()
    expect(chat.questions).to_have_text(["Who is there?"])
    held.lose()
    expect(chat.agent).to_have_attribute("value", "")
    # The message was meant for the other agent: it is not sent to this one.
    expect(chat.main.get_by_role("alert")).to_have_count(2)
    assert server.messages(conversation_id) == []
    complaints.forgive()

    page.unroute_all()
    chat.button("Retry").last.click()
    until(page, lambda: server.call("GET", f"/conversations/{conversation_id}")["agentId"] == agent)
    expect(chat.agent).to_have_attribute("value", agent)
    expect(chat.button("Retry")).to_have_count(1)
    chat.button("Retry").click()
    chat.until_answered()
    assert server.messages(conversation_id)[1]["agentId"] == agent


def test_edit_left_while_saving_is_saved_or_goes_into_the_draft(
    page: Page, server: Server, complaints: Complaints
) -> None:
    server.create_conversation("Away", "a", "b")
    conversation_id = server.create_conversation("Edited late", "What?", "That.")
    chat = Chat(page).open(conversation_id)
    for text, is_saved in (("What not?", False), ("What else?", True)):
        held = Held(page, "**/messages/*", "PUT")
        chat.button("Edit").first.click()
        page.get_by_role("textbox", name="Edit message").fill(text)
        chat.send_edited.click()
        held.until(1)
        expect(chat.button("Cancel")).to_be_disabled()
        chat.link("Away").click()
        expect(chat.answers).to_have_text(["b"])
        if is_saved:
            held.let_go()
            until(page, lambda: server.messages(conversation_id)[0]["editedContent"] == "What else?")
        else:
            held.lose()
            until(page, lambda: "What not?" in stored_drafts(page))
        expect(chat.box).to_have_value("")
        page.unroute_all()
        chat.link("Edited late").click()
        expect(chat.box).to_have_value("What not?")
    expect(chat.answers).to_have_text([f"{ECHO}What else?"])
    complaints.forgive()


def stored_drafts(page: Page) -> str:
    drafts: str = page.evaluate("() => JSON.stringify(localStorage)")
    return drafts


def test_html_that_was_not_rendered_in_time_is_requested_again(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("Late looks", "How?", "**Loudly**")
    without = 2

    def take_html_out(route: Route) -> None:
        nonlocal without
        response = route.fetch()
        body = response.json()
        if without:
            without -= 1
            for item in body["items"]:
                item["html"] = None
        route.fulfill(response=response, body=json.dumps(body))

    page.route("**/messages?*", take_html_out)
    chat = Chat(page).open(conversation_id)
    expect(chat.answers).to_have_text(["**Loudly**"])
    expect(chat.answers.locator("strong")).to_have_text("Loudly")


def test_html_that_is_never_rendered_is_requested_a_few_times_only(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("No looks", "How?", "x" * 100_000)
    server.call(
        "PUT",
        f"/conversations/{conversation_id}/messages/{server.messages(conversation_id)[1]['id']}",
        {"content": "y"},
    )
    asked: list[str] = []

    def take_html_out(route: Route) -> None:
        asked.append(route.request.url)
        response = route.fetch()
        body = response.json()
        for item in body["items"]:
            item["html"] = None
        route.fulfill(response=response, body=json.dumps(body))

    page.route("**/messages?*", take_html_out)
    Chat(page).open(conversation_id)
    until(page, lambda: len(asked) == 4)
    polls: list[str] = []
    page.on("response", lambda response: polls.append(response.url) if response.url.endswith(conversation_id) else None)
    until(page, lambda: len(polls) == 3)
    assert len(asked) == 4


def test_unsent_message_stays_in_its_company(page: Page, server: Server, complaints: Complaints) -> None:
    other = "11111111-1111-4111-8111-111111111111"
    listed = [{"id": COMPANY}, {"id": other, "name": "The others"}]
    companies = {"mode": "authenticated", "actor": {"name": "Eve"}, "companies": listed}
    page.route("**/api/session", lambda route: route.fulfill(json=companies))
    chat = Visit(page)
    chat.open()
    held = Held(page, "**/conversations", "POST")
    chat.box.fill("for this company only")
    chat.send.click()
    held.until(1)
    held.lose()
    expect(chat.alert).to_contain_text("Not sent")
    chat.choose_company("The others")
    expect(chat.account).to_have_text("Eve The others")
    expect(chat.send).to_be_visible()
    expect(chat.questions).to_have_count(0)
    expect(chat.box).to_have_value("")
    page.unroute("**/conversations")
    chat.box.fill("for the other one")
    chat.send.click()
    chat.until_answered()
    titles = [item["title"] for item in server.call("GET", f"/companies/{other}/conversations")["items"]]
    assert titles == ["for the other one"]
    complaints.forgive()
