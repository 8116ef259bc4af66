"""Signing in and out. The session's responses are made up here; the server's own tests are about who gets them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import COMPANY, Complaints, Server
from tests.browser.people import Visit

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
    visit = Visit(page)
    expect(visit.token).to_be_focused()
    for _ in range(5):
        page.keyboard.press("Escape")
    visit.token.fill("wrong")
    page.keyboard.press("Enter")
    expect(visit.alert).to_have_text("This token is not accepted. It may be mistyped, expired or revoked.")
    expect(visit.token).to_be_focused()
    visit.token.fill(f"  {TOKEN} ")
    page.get_by_role("button", name="Sign in").click()
    expect(visit.token).to_have_count(0)
    expect(visit.account).to_have_text("Ada")
    visit.choose_account("Sign out")
    expect(visit.token).to_be_visible()
    assert ["401" in text for text in complaints.texts] == [True]  # the wrong token
    complaints.forgive()


def test_company_can_be_chosen_if_there_are_several(page: Page, server: Server) -> None:
    other, gone = "00000000-0000-4000-8000-00000000000b", "00000000-0000-4000-8000-00000000000c"
    companies = [COMPANY, other, gone]
    names = {other: "Zinc", gone: "Cobalt"}

    def session(route: Route) -> None:
        listed = [{"id": company} | ({"name": names[company]} if company in names else {}) for company in companies]
        route.fulfill(json=session_of("Ada") | {"companies": listed})

    page.route("**/api/session", session)
    server.create_conversation("Ours")
    server.call("POST", f"/companies/{other}/conversations", {"title": "Theirs"})
    chat = Visit(page)
    chat.open()
    chat.account.click()
    choices = page.get_by_role("menuitemradio")
    expect(choices).to_have_text(["00000000", "Cobalt", "Zinc"])
    expect(choices.first).to_have_attribute("aria-checked", "true")
    page.keyboard.press("Escape")
    expect(chat.link("Ours")).to_be_visible()
    expect(chat.link("Theirs")).to_have_count(0)

    chat.link("Ours").click()
    expect(page).to_have_url(re.compile("/c/"))
    chat.choose_company("Zinc")
    expect(page).to_have_url(re.compile("/$"))
    expect(chat.link("Theirs")).to_be_visible()
    expect(chat.link("Ours")).to_have_count(0)
    expect(chat.account).to_have_text("Ada Zinc")
    chat.ask("Where am I?").until_answered()
    titles = [one["title"] for one in server.call("GET", f"/companies/{other}/conversations")["items"]]
    assert titles == ["Where am I?", "Theirs"]

    page.goto("/")
    expect(chat.account).to_have_text("Ada Zinc")
    companies.remove(other)
    page.reload()
    expect(chat.account).to_have_text("Ada 00000000")
    expect(chat.link("Ours")).to_be_visible()
    companies.remove(gone)
    page.reload()
    expect(chat.account).to_have_text("Ada")
    chat.account.click()
    expect(chat.item("Sign out").first).to_be_visible()
    expect(choices).to_have_count(0)


def test_session_that_ends_leaves_nothing_but_a_sign_in(page: Page, server: Server, complaints: Complaints) -> None:
    page.route("**/api/session", lambda route: route.fulfill(json=session_of("Ada", COMPANY)))
    visit = Visit(page)
    visit.open(server.create_conversation("Behind", "a secret", "another"))
    expect(visit.answers).to_have_text(["another"])
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog")).to_be_visible()
    refusal = {"error": "Sign in first"}
    page.route("**/api/co*/**", lambda route: route.fulfill(status=401, json=refusal))
    expect(visit.token).to_be_focused()
    for _ in range(5):
        page.keyboard.press("Escape")
    expect(visit.token).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(visit.alert).to_have_count(0)
    expect(page.get_by_role("main")).to_have_count(1)
    assert "secret" not in page.content()
    complaints.forgive()


def test_too_many_attempts_say_when_the_next_one_may_be(page: Page, complaints: Complaints) -> None:
    page.route("**/api/session", lambda route: route.fulfill(json=session_of(None)))
    page.clock.install()
    page.goto("/")
    visit, button = Visit(page), page.get_by_role("button", name="Sign in")
    expect(visit.token).to_be_focused()
    refusal = {"status": 429, "json": {"error": "Too many"}, "headers": {"Retry-After": "30"}}
    page.route("**/api/session", lambda route: route.fulfill(**refusal))
    visit.token.fill("wrong")
    button.click()
    expect(visit.alert).to_have_text("Too many attempts. Try again in 30 seconds.")
    expect(button).to_be_disabled()
    page.clock.run_for(10_000)
    expect(page.get_by_text("Too many attempts. Try again in 20 seconds.")).to_be_visible()
    page.clock.run_for(21_000)
    expect(page.get_by_text("Too many attempts")).to_have_count(0)
    expect(button).to_be_enabled()
    complaints.forgive()


def test_proxy_signs_people_in_and_the_page_asks_for_no_token(page: Page, complaints: Complaints) -> None:
    session = session_of("Ada", COMPANY) | {"mode": "proxy"}
    page.route("**/api/session", lambda route: route.fulfill(json=session))
    visit = Visit(page)
    visit.open()
    expect(visit.account).to_have_text("Ada")
    expect(page.get_by_role("button", name="Ada")).to_have_count(0)  # there is nothing that its menu could offer
    visit.box.fill("half a thought")
    # As a proxy has somebody sign in whose own session is over.
    page.route(
        "**/api/companies/**",
        lambda route: route.fulfill(status=302, headers={"Location": "https://login.example/"}),
    )
    again = page.get_by_role("button", name="Sign in again")
    expect(again).to_be_focused()
    expect(page.get_by_text("Your session has ended. What you were writing is kept.")).to_be_visible()
    expect(visit.token).to_have_count(0)
    page.unroute("**/api/companies/**")
    again.click()
    expect(visit.box).to_have_value("half a thought")

    session |= {"companies": []}
    page.reload()
    expect(page.get_by_text("Ada, you belong to no company here.")).to_be_visible()
    session |= {"actor": None}
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("This server has you sign in elsewhere, before you come here.")).to_be_visible()
    complaints.forgive()
