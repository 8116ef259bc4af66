"""Signing in and out. The server's answers are those of the contract; its own tests are about who gets them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.chat import Chat
from tests.browser.conftest import COMPANY, Complaints

pytestmark = pytest.mark.browser

TOKEN = "right"


def test_a_token_is_asked_for_until_it_is_right(page: Page, complaints: Complaints) -> None:
    signed_in = False

    def session(route: Route) -> None:
        nonlocal signed_in
        method = route.request.method
        if method == "GET" and signed_in:
            company = {"id": COMPANY}
            route.fulfill(json={"mode": "authenticated", "actor": {"name": "Ada"}, "companies": [company]})
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
    expect(chat.alert).to_have_text("Sign in first")
    token.fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(token).to_have_count(0)
    expect(chat.button("Sign out")).to_be_visible()
    chat.button("Sign out").click()
    expect(token).to_be_visible()
    assert all("401" in text for text in complaints.texts)
    complaints.texts.clear()


def test_a_session_that_ends_meanwhile(page: Page, complaints: Complaints) -> None:
    chat = Chat(page).open()
    refusal = {"error": "Sign in first"}
    page.route("**/api/companies/**", lambda route: route.fulfill(status=401, json=refusal))
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(1)
    expect(chat.alert).to_have_count(0)
    complaints.texts.clear()
