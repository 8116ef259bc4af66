"""Agents in the page: making, changing, choosing, trying and removing them."""

from __future__ import annotations

import re

import psycopg
import pytest
from playwright.sync_api import BrowserContext, Dialog, Locator, Page, expect

from tests.browser.chat import ECHO, Chat, spoken, unique, words
from tests.browser.chat import listen as listen_to
from tests.browser.conftest import COMPANY, Complaints, Server
from tests.browser.held import NO_TIMEOUTS, Held, until
from tests.kit.in_thread import InThread
from tests.kit.model_server import ModelServer

pytestmark = pytest.mark.browser

BLANK = "Must not be empty"
TOO_HOT = "A number from 0 to 2."


class Managing:
    """The dialog in which agents are managed."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.dialog = page.get_by_role("dialog").filter(has=page.locator("#agents-title"))
        self.title = self.dialog.get_by_role("heading", level=2)
        self.faults = self.dialog.locator(".field-fault:not(:empty)")
        self.answer = self.dialog.get_by_role("region", name="Answer")

    def open(self) -> Managing:
        self.page.get_by_role("navigation").get_by_role("button", name="Agents", exact=True).click()
        expect(self.title).to_have_text("Agents")
        return self

    def edit(self, name: str) -> Managing:
        named = self.page.get_by_text(name, exact=True)
        self.dialog.get_by_role("listitem").get_by_role("button").filter(has=named).click()
        expect(self.title).to_have_text(name)
        return self

    def field(self, name: str) -> Locator:
        return self.dialog.get_by_label(name, exact=True)

    def press(self, name: str) -> Managing:
        self.dialog.get_by_role("button", name=name, exact=True).click()
        return self


def agents_of(server: Server, name: str) -> list[dict[str, object]]:
    items = server.call("GET", f"/companies/{COMPANY}/agents?limit=100")["items"]
    return [agent for agent in items if agent["name"] == name]


def titles(server: Server) -> list[str]:
    items = server.call("GET", f"/companies/{COMPANY}/conversations?archived=all&limit=100")["items"]
    return [str(item["title"]) for item in items]


def test_agent_is_made_chosen_renamed_in_another_tab_and_removed(
    context: BrowserContext, server: Server, complaints: Complaints
) -> None:
    name, better = unique("Ada"), unique("Grace")
    page = context.new_page()
    chat, managing = Chat(page).open(), Managing(page).open().press("New agent")
    expect(managing.title).to_have_text("New agent")
    expect(managing.field("Answers come from")).to_have_value("away")  # the first one that is a model
    managing.field("Answers come from").select_option("thinking")
    managing.field("Temperature").fill("9")
    managing.press("Save")
    expect(managing.faults).to_have_text([re.compile(BLANK, re.IGNORECASE), TOO_HOT])
    expect(managing.field("Name")).to_be_focused()
    expect(managing.field("Name")).to_have_accessible_description(re.compile(BLANK, re.IGNORECASE))
    expect(managing.field("Temperature")).to_have_attribute("aria-invalid", "true")
    assert all("400" in text for text in complaints.texts)
    complaints.forgive()
    managing.field("Name").fill(name)
    managing.field("Temperature").fill("0,5")
    managing.field("Model").fill("another")
    managing.field("Instructions (system prompt)").fill("Be brief.\nBe kind.")
    managing.field("Longest answer").fill("100")
    managing.press("Save")
    expect(managing.title).to_have_text("Agents")
    [agent] = agents_of(server, name)
    assert agent["adapterConfig"] == {
        "provider": "thinking",
        "model": "another",
        "systemPrompt": "Be brief.\nBe kind.",
        "temperature": 0.5,
        "maxTokens": 100,
    }
    page.keyboard.press("Escape")
    expect(managing.dialog).to_be_hidden()

    chat.choose_agent(name).ask("What is it?").until_answered()
    expect(chat.answers).to_have_text(["Forty-two"])
    expect(chat.messages.last.locator(".author")).to_have_text(name)
    assert server.messages(chat.conversation_id)[1]["agentId"] == agent["id"]

    other = Managing(context.new_page())
    Chat(other.page).open()
    other.open().edit(name).field("Name").fill(better)
    other.press("Save")
    expect(other.dialog.get_by_text(better, exact=True)).to_be_visible()
    expect(chat.agent).to_have_text(better)
    expect(chat.messages.last.locator(".author")).to_have_text(better)
    assert [one["id"] for one in agents_of(server, better)] == [agent["id"]]

    other.edit(better).press("Remove…")
    asking = other.dialog.get_by_role("alert")
    expect(asking).to_have_text(
        f"Remove {better}? Its conversations stay; from now on Echo answers them. Old answers keep its name."
    )
    other.press("Keep it")
    expect(asking).to_have_count(0)
    assert len(agents_of(server, better)) == 1
    other.press("Remove…").press("Remove")
    expect(other.title).to_have_text("Agents")
    expect(other.dialog.get_by_text(better, exact=True)).to_have_count(0)
    assert agents_of(server, better) == []

    page.reload()
    expect(chat.messages.last.locator(".author")).to_have_text(better)
    chat.agent.click()
    chosen = page.get_by_role("option", selected=True)
    expect(chosen).to_have_text(f"{better} Removed: Echo answers")
    page.keyboard.press("Escape")
    chat.ask("And now?").until_answered()
    expect(chat.answers.last).to_have_text(f"{ECHO}And now?")


def test_changes_of_an_agent_are_not_lost_by_accident(page: Page, server: Server, complaints: Complaints) -> None:
    name = unique("Careful")
    server.create_agent(name, "slow")
    Chat(page).open()
    managing = Managing(page).open().edit(name)
    page.keyboard.press("Escape")  # nothing was changed
    expect(managing.dialog).to_be_hidden()

    managing.open().edit(name).field("Instructions (system prompt)").fill("Take your time.")
    asking = managing.dialog.get_by_role("alert")
    for leave in ("Close", "Cancel", "Back to the agents"):
        managing.press(leave)
        expect(asking).to_have_text("Your changes are not saved.")
        managing.press("Keep editing")
        expect(asking).to_have_count(0)
    for _ in range(4):  # asks, and stays
        page.keyboard.press("Escape")
    expect(managing.field("Instructions (system prompt)")).to_have_value("Take your time.")

    dialogs: list[str] = []

    def stay(dialog: Dialog) -> None:
        dialogs.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.evaluate("() => void setTimeout(() => location.reload())")
    until(page, lambda: dialogs == ["beforeunload"])
    page.remove_listener("dialog", stay)

    # Somebody else removes it meanwhile: it can be made anew.
    [agent] = agents_of(server, name)
    server.call("DELETE", f"/agents/{agent['id']}")
    managing.press("Save")
    expect(asking).to_contain_text("Somebody removed this agent meanwhile.")
    complaints.forgive()
    managing.press("Save")
    expect(managing.title).to_have_text("Agents")
    [made] = agents_of(server, name)
    assert made["adapterConfig"] == {"provider": "slow", "systemPrompt": "Take your time."}

    managing.edit(name).field("Model").fill("never")
    managing.press("Close").press("Discard")
    expect(managing.dialog).to_be_hidden()
    assert agents_of(server, name) == [made]
    managing.open().edit(name).field("Answers come from").select_option(label="Echo (repeats what you write)")
    expect(managing.field("Model")).to_be_hidden()
    managing.press("Save")
    expect(managing.title).to_have_text("Agents")
    assert [one["adapterType"] for one in agents_of(server, name)] == ["echo"]


def active_option(page: Page) -> str:
    """The option that screen readers take for the current one."""
    text: str = page.evaluate(
        "document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.innerText ?? ''"
    )
    return text.partition("\n")[0]


def test_agents_are_chosen_by_keyboard(page: Page, server: Server) -> None:
    for item in server.call("GET", f"/companies/{COMPANY}/agents?limit=100")["items"]:
        server.call("DELETE", f"/agents/{item['id']}")
    for name in ("Berta", "Bruno", "Émile"):
        server.create_agent(name, "slow")
    chat = Chat(page).open()
    expect(chat.agent).to_have_text("Echo")
    chooser = page.get_by_role("dialog", name="Choose an agent")
    options = chooser.get_by_role("option")
    search = page.get_by_role("combobox", name="Search agents")
    press = page.keyboard.press

    chat.agent.focus()
    press("ArrowDown")
    expect(chat.agent).to_have_attribute("aria-expanded", "true")
    expect(chooser.get_by_role("listbox", name="Agents")).to_be_focused()
    expect(options).to_have_count(4)
    expect(search).to_be_hidden()
    seen = [active_option(page)]
    for key in ("End", "ArrowDown", "ArrowUp", "Home", "b", "r"):
        press(key)
        seen.append(active_option(page))
    assert seen == ["Echo", "Émile", "Émile", "Bruno", "Echo", "Berta", "Bruno"]
    press("Escape")
    expect(chooser).to_be_hidden()
    expect(chat.agent).to_be_focused()
    expect(chat.agent).to_have_attribute("aria-expanded", "false")
    expect(chat.agent).to_have_text("Echo")

    press("e")  # opens the list at the next one that begins so, whatever its accents
    expect(chooser.get_by_role("listbox", name="Agents")).to_be_focused()
    assert active_option(page) == "Émile"
    press("Enter")
    expect(chat.agent).to_be_focused()
    expect(chat.agent).to_have_text("Émile")
    expect(page.get_by_text("Émile will answer")).to_be_visible()

    listen_to(page)
    press("Enter")
    expect(chooser).to_be_visible()
    press("Shift+Tab")
    press("ArrowRight")
    expect(chooser.get_by_role("radio", name="Only the next message")).to_be_checked()
    expect(options.filter(has_text="Echo")).to_be_disabled()  # No message can ask for the default.
    press("Tab")
    press("Home")
    press("Enter")
    expect(chooser).to_be_visible()
    press("ArrowDown")
    press("Enter")
    expect(chat.agent).to_have_text("Berta")
    expect(chat.button("Next message only: undo")).to_be_visible()
    assert spoken(page) == ["Berta answers the next message only"]
    chat.ask("Who?").until_answered()
    expect(chat.messages.last.locator(".author")).to_have_text("Berta")
    expect(chat.agent).to_have_text("Émile")
    expect(chat.button("Next message only: undo")).to_be_hidden()
    chat.choose_agent("Bruno", once=True).button("Next message only: undo").click()
    expect(chat.agent).to_have_text("Émile")
    expect(chat.agent).to_be_focused()

    for number in range(9):
        server.create_agent(f"Helper {number}", "slow")
    press("Enter")
    expect(options).to_have_count(13)  # The list is asked for when it is opened.
    press("Escape")
    press("Enter")
    expect(search).to_be_focused()
    page.keyboard.type("HELPER 7")
    expect(options).to_have_count(1)
    expect(chooser.get_by_text("No agent is called that.")).to_be_hidden()
    page.keyboard.type("x")
    expect(chooser.get_by_text("No agent is called that.")).to_be_visible()
    press("Backspace")
    press("Enter")
    expect(chat.agent).to_have_text("Helper 7")
    press("Enter")
    press("Tab")
    press("Tab")
    expect(chat.button("Manage agents…")).to_be_focused()
    press("Enter")
    managing = Managing(page)
    expect(managing.title).to_have_text("Agents")
    expect(chat.button("New agent")).to_be_focused()
    press("Enter")
    expect(managing.field("Name")).to_be_focused()
    page.keyboard.type("Made by keys")
    press("Enter")
    expect(managing.title).to_have_text("Agents")
    expect(managing.dialog.get_by_role("button", name=re.compile("^Made by keys"))).to_be_focused()
    press("Escape")
    expect(managing.dialog).to_be_hidden()
    expect(chat.agent).to_be_focused()


def test_press_on_the_box_closes_its_list(page: Page, server: Server) -> None:
    chat = Chat(page).open()
    chooser = page.get_by_role("dialog", name="Choose an agent")
    chat.agent.click()
    expect(chooser).to_be_visible()
    chat.agent.click()
    expect(chooser).to_be_hidden()
    expect(chat.agent).to_have_attribute("aria-expanded", "false")
    chat.agent.click()
    expect(chooser).to_be_visible()
    chat.box.click()
    expect(chooser).to_be_hidden()


def test_agent_is_tried_before_it_is_used(page: Page, server: Server, complaints: Complaints) -> None:
    name = unique("Trying")
    Chat(page).open()
    managing = Managing(page).open().press("New agent")
    managing.field("Answers come from").select_option("slow")
    managing.field("Try it").fill("Well?")
    managing.press("Save and try")
    expect(managing.field("Name")).to_be_focused()
    complaints.forgive()
    managing.field("Name").fill(name)
    managing.press("Save and try")
    expect(managing.title).to_have_text(name)
    expect(managing.answer).to_have_text(f"{ECHO}Well?")
    until(page, lambda: f"Trial of {name}" not in titles(server))
    assert len(agents_of(server, name)) == 1

    managing.field("Try it").fill(words(400))
    managing.field("Try it").press("Enter")
    expect(managing.answer).to_contain_text("word3")
    assert f"Trial of {name}" in titles(server)
    expect(Chat(page).link(f"Trial of {name}")).to_have_count(0)
    managing.press("Stop")
    shown = managing.answer.inner_text()
    until(page, lambda: f"Trial of {name}" not in titles(server))
    expect(managing.dialog.get_by_role("button", name="Try", exact=True)).to_be_focused()
    assert managing.answer.inner_text() == shown

    managing.press("Try")
    expect(managing.answer).to_contain_text("word3")
    page.keyboard.press("Escape")
    expect(managing.dialog).to_be_hidden()
    until(page, lambda: f"Trial of {name}" not in titles(server))

    managing.open().edit(name).field("Try it").fill(words(400))
    managing.press("Try")
    expect(managing.answer).to_contain_text("word3")
    page.goto("about:blank")
    until(page, lambda: f"Trial of {name}" not in titles(server))


def test_trial_that_is_left_asks_for_nothing_more(
    page: Page, server: Server, dictated_model: InThread[ModelServer]
) -> None:
    name = unique("Left")
    server.create_agent(name, "dictated")
    Chat(page).open()
    managing = Managing(page).open().edit(name)
    page.evaluate(NO_TIMEOUTS)
    held = Held(page, "**/render", "POST")
    managing.field("Try it").fill("Go on")
    managing.press("Try")
    call = dictated_model.run(dictated_model.part.call())
    dictated_model.run(call.send("# One\n\n", "Two\n\n", "Three", " four"))
    held.until(1)
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/render")):
        page.keyboard.press("Escape")
    expect(managing.dialog).to_be_hidden()
    held.lose()
    dictated_model.run(call.closed())


def test_trial_that_fails_says_why(page: Page, server: Server) -> None:
    name = unique("Nobody")
    server.create_agent(name, "away")
    Chat(page).open()
    managing = Managing(page).open().edit(name)
    managing.field("Try it").fill("Anybody?")
    managing.press("Try")
    expect(managing.dialog.get_by_role("alert")).to_be_visible()
    expect(managing.dialog.get_by_role("button", name="Try", exact=True)).to_be_visible()
    until(page, lambda: f"Trial of {name}" not in titles(server))


# The last one here: pages that are opened after it list so many agents.
def test_agent_is_found_after_a_thousand_others_were_removed(page: Page, server: Server) -> None:
    with psycopg.connect(server.database_url) as connection:
        connection.execute(
            "INSERT INTO agents"
            " (id, company_id, name, adapter_type, adapter_config, created_at, updated_at, deleted_at)"
            " SELECT gen_random_uuid(), %s, 'Removed', 'echo', '{}', '2020-01-01', '2020-01-01', now()"
            " FROM generate_series(1, 1000)",
            (COMPANY,),
        )
    name = unique("Newest")
    server.create_agent(name, "slow")
    Chat(page).open().choose_agent(name)
