"""Signing in and out. The session's responses are made up here; the server's own tests are about who gets them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.chat import Chat
from tests.browser.conftest import COMPANY, Complaints, Server

pytestmark = pytest.mark.browser

TOKEN = "right"


def session_of(name: str | None, *companies: str) -> dict[str, Any]:
    """The session as an authenticating server returns it. Without a name: nobody has signed in."""
    actor = None if name is None else {"name": name}
    return {"mode": "authenticated", "actor": actor, "companies": [{"id": company} for company in companies]}


def test_token_is_asked_for_until_it_is_accepted(page: Page, complaints: Complaints) -> None:
    signed_in = False

    def session(route: Route) -> None:
        nonlocal signed_in
        method = route.request.method
        if method == "GET" and signed_in:
            route.fulfill(json=session_of("Ada", COMPANY))
        elif method == "GET":
            route.fulfill(json=session_of(None))
        elif method == "POST" and route.request.post_data_json == {"token": TOKEN}:
            signed_in = True
            route.fulfill(status=204)
        elif method == "DELETE":
            signed_in = False
            route.fulfill(status=204)
        else:
            route.fulfill(status=401, json={"error": "Sign in first"})

    page.route("**/api/session", session)
    page.goto("/")
    token = page.get_by_label("Token")
    expect(token).to_be_focused()
    page.keyboard.press("Escape")
    token.fill("wrong")
    page.keyboard.press("Enter")
    chat = Chat(page)
    expect(chat.alert).to_have_text("This token is not accepted.")
    token.fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(token).to_have_count(0)
    expect(chat.button("Sign out")).to_be_visible()
    chat.button("Sign out").click()
    expect(token).to_be_visible()
    assert ["401" in text for text in complaints.texts] == [True]  # the wrong token
    complaints.forgive()


def test_company_can_be_chosen_if_there_are_several(page: Page, server: Server) -> None:
    other, gone = "00000000-0000-4000-8000-00000000000b", "00000000-0000-4000-8000-00000000000c"
    companies = [COMPANY, other, gone]
    page.route("**/api/session", lambda route: route.fulfill(json=session_of("Ada", *companies)))
    server.create_conversation("Ours")
    server.call("POST", f"/companies/{other}/conversations", {"title": "Theirs"})
    chat = Chat(page).open()
    company = page.get_by_role("combobox", name="Company")
    expect(company.get_by_role("option")).to_have_text(["00000000"] * 3)
    expect(company).to_have_value(COMPANY)
    expect(chat.link("Ours")).to_be_visible()
    expect(chat.link("Theirs")).to_have_count(0)

    chat.link("Ours").click()
    expect(page).to_have_url(re.compile("/c/"))
    company.select_option(other)
    expect(page).to_have_url(re.compile("/$"))
    expect(chat.link("Theirs")).to_be_visible()
    expect(chat.link("Ours")).to_have_count(0)
    expect(company).to_have_value(other)
    chat.ask("Where am I?").until_answered()
    titles = [one["title"] for one in server.call("GET", f"/companies/{other}/conversations")["items"]]
    assert titles == ["Where am I?", "Theirs"]

    page.goto("/")
    expect(company).to_have_value(other)
    companies.remove(other)
    page.reload()
    expect(company).to_have_value(COMPANY)
    expect(chat.link("Ours")).to_be_visible()
    companies.remove(gone)
    page.reload()
    expect(chat.button("Sign out")).to_be_visible()
    expect(page.get_by_label("Company")).to_be_hidden()


def test_session_that_ends_asks_for_a_token(page: Page, complaints: Complaints) -> None:
    chat = Chat(page).open()
    refusal = {"error": "Sign in first"}
    page.route("**/api/companies/**", lambda route: route.fulfill(status=401, json=refusal))
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(1)
    expect(chat.alert).to_have_count(0)
    complaints.forgive()
