"""axe finds no violation in what people see who sign in: light, dark and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.chat import unique_word
from tests.browser.conftest import Complaints, OpenContext, Server
from tests.browser.patient import PatientModel
from tests.browser.people import COMPANY, Visit, guarded_server, token_of
from tests.browser.test_axe import SCREENS, violations
from tests.conftest import DatabaseMaker
from tests.kit.tokens import revoke

pytestmark = [pytest.mark.browser, pytest.mark.npm]


@pytest.fixture(scope="module")
def server(
    make_database: DatabaseMaker, tmp_path_factory: pytest.TempPathFactory, patient: PatientModel
) -> Iterator[Server]:
    with guarded_server(make_database, tmp_path_factory.mktemp("guarded"), patient) as server:
        yield server


@pytest.mark.parametrize("options", [*SCREENS.values(), {"locale": "ar-EG"}], ids=[*SCREENS, "from right to left"])
def test_people_see_no_axe_violations(
    open_context: OpenContext, server: Server, complaints: Complaints, options: dict[str, Any]
) -> None:
    page = open_context(reduced_motion="reduce", **options).new_page()
    visit, word = Visit(page), unique_word()
    # By ids and classes: one of the screens is in another language.
    token, account = page.locator("#token"), page.locator("button.account")

    def sign_in(text: str) -> None:
        token.fill(text)
        page.keyboard.press("Enter")

    def open_sidebar() -> None:
        if page.locator("#drawerOpen").is_visible():
            page.locator("#drawerOpen").click()
            expect(page.locator("#drawerClose")).to_be_in_viewport()

    page.goto("/")
    expect(token).to_be_focused()
    assert violations(page) == []
    sign_in("wrong")
    expect(visit.alert).to_be_visible()
    assert violations(page) == []

    bob = server.used_by(token_of(server, "Bob"))
    conversation_id = bob.call("POST", f"/companies/{COMPANY}/conversations", {})["id"]
    for speaker, role in ((bob, "user"), (server, "assistant")):
        fields = {"role": role, "content": f"{role} {word}"}
        speaker.call("POST", f"/conversations/{conversation_id}/messages", fields)
    root = token_of(server, "Root", company=None)
    sign_in(root.text)
    expect(account).to_be_attached()
    page.goto(f"/c/{conversation_id}")
    expect(page.locator(".message.user .author")).to_have_text("Bob")
    assert violations(page) == []
    open_sidebar()
    account.click()
    expect(page.get_by_role("menuitem").first).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.locator("#search").fill(word)
    expect(page.locator("#found bdi").first).to_have_text("Bob")
    assert violations(page) == []

    revoke(server.database_url, root)
    expect(token).to_be_focused()
    assert violations(page) == []
    sign_in(token_of(server, "Rita", "reader").text)
    expect(page.locator("#readOnly")).to_be_visible()
    expect(page.locator(".message")).to_have_count(2)
    assert violations(page) == []
    page.goto("/")
    expect(page.locator("#greetingTitle")).to_be_visible()
    assert violations(page) == []
    open_sidebar()
    assert violations(page) == []
    complaints.forgive()
