"""The sidebar: its groups by date, its width, where branches come from, and notices that go away by themselves."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.chat import Chat, unique, words
from tests.browser.conftest import Complaints, OpenContext, Server

pytestmark = pytest.mark.browser

DAY = timedelta(days=1)
# Of a title in one line: whether it is cut, and the end is replaced by an ellipsis.
CUT = "node => node.scrollWidth > node.clientWidth && getComputedStyle(node).textOverflow === 'ellipsis'"


def milliseconds(time: timedelta) -> int:
    return int(time.total_seconds() * 1000)


def group(chat: Chat, title: str) -> Locator:
    """The heading of the group in which a conversation is listed."""
    return chat.row(title).locator("xpath=ancestor::section").get_by_role("heading")


def test_conversations_move_on_through_the_groups_of_dates(open_context: OpenContext, server: Server) -> None:
    title, pinned, archived = unique("Dated"), unique("Pinned"), unique("Archived")
    server.create_conversation(title)
    server.call("POST", f"/conversations/{server.create_conversation(pinned)}/pin")
    server.call("POST", f"/conversations/{server.create_conversation(archived)}/archive")
    now = datetime.now(UTC)
    # It is about noon there, and midnight comes at another time than in UTC.
    page = open_context(timezone_id=f"Etc/GMT{now.hour - 12:+d}").new_page()
    page.clock.install(time=now)
    chat = Chat(page).open()
    expect(group(chat, title)).to_have_text("Today")
    expect(group(chat, pinned)).to_have_text("Pinned")
    link = chat.link(title)
    link.focus()
    page.clock.fast_forward(milliseconds(DAY / 2 + timedelta(hours=1)))
    expect(group(chat, title)).to_have_text("Yesterday")
    expect(link).to_be_focused()
    for days, name in ((1, "Last 7 days"), (5, "Last 7 days"), (1, f"{now:%B}"), (366, f"{now:%B} {now.year}")):
        page.clock.fast_forward(milliseconds(days * DAY))
        expect(group(chat, title)).to_have_text(name)
    expect(group(chat, pinned)).to_have_text("Pinned")
    chat.button("Archived").click()
    expect(group(chat, archived)).to_have_text(f"{now:%B} {now.year}")

    # A change elsewhere brings it back to the top.
    chat.button("Archived").click()
    page.clock.set_system_time(datetime.now(UTC))
    expect(group(chat, title)).to_have_text("Today")


def test_sidebar_is_resized_and_collapsed_and_stays_so(page: Page, server: Server) -> None:
    title = unique("Wide")
    server.create_conversation(title)
    chat = Chat(page).open()
    edge = page.get_by_role("separator", name="Width of the sidebar")
    expect(edge).to_have_attribute("aria-valuenow", "280")

    def width() -> float:
        box = chat.sidebar.bounding_box()
        assert box
        return box["width"]

    box = edge.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, 300
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 70, y, steps=3)
    page.mouse.up()
    assert width() == 350
    expect(edge).to_have_attribute("aria-valuenow", "350")
    edge.focus()
    page.keyboard.press("ArrowLeft")
    expect(edge).to_have_attribute("aria-valuenow", "334")
    page.reload()
    expect(edge).to_have_attribute("aria-valuenow", "334")
    assert width() == 334
    edge.press("End")
    expect(edge).to_have_attribute("aria-valuenow", "480")
    edge.press("Home")
    expect(edge).to_have_attribute("aria-valuenow", "200")
    edge.dblclick()
    expect(edge).to_have_attribute("aria-valuenow", "280")
    page.evaluate("document.documentElement.dir = 'rtl'")
    edge.focus()
    edge.press("ArrowLeft")
    expect(edge).to_have_attribute("aria-valuenow", "296")

    chat.button("Hide the sidebar").click()
    expect(chat.sidebar).to_be_hidden()
    expect(chat.button("Conversations")).to_be_focused()
    page.reload()
    expect(chat.button("Conversations")).to_have_attribute("aria-expanded", "false")
    expect(chat.sidebar).to_be_hidden()
    main = chat.main.bounding_box()
    assert main
    assert main["width"] == page.evaluate("innerWidth")

    # A phone has a drawer: neither width nor collapse count there.
    page.set_viewport_size({"width": 390, "height": 700})
    chat.button("Conversations").click()
    expect(chat.link(title)).to_be_in_viewport()
    expect(edge).to_be_hidden()
    chat.button("Close").click()
    page.set_viewport_size({"width": 1280, "height": 720})
    chat.button("Conversations").click()
    expect(chat.button("Hide the sidebar")).to_be_focused()
    expect(chat.button("Conversations")).to_be_hidden()
    assert width() == 296


def test_branch_names_its_parent_and_leads_to_it(page: Page, server: Server, complaints: Complaints) -> None:
    title = unique("Trunk")
    parent = server.create_conversation(title, "one", "two", "three", "four")
    message_id = server.messages(parent)[1]["id"]
    branch = server.call("POST", f"/conversations/{parent}/branch", {"messageId": message_id})["id"]
    named = unique("Twig")
    server.call("PATCH", f"/conversations/{branch}", {"title": named})
    chat = Chat(page).open(branch)
    mark = chat.row(named).get_by_role("img")
    expect(mark).to_have_accessible_name(f"Branched from “{title}”")
    expect(chat.row(title).get_by_role("img")).to_have_count(0)
    page.get_by_role("banner").get_by_role("link", name=f"Branched from “{title}”").click()
    expect(page).to_have_url(re.compile(f"/c/{parent}#m-{message_id}$"))
    expect(chat.answers).to_have_text(["two", "four"])
    expect(page.get_by_role("banner").get_by_text("Branched from")).to_be_hidden()

    server.call("DELETE", f"/conversations/{parent}")
    chat.open(branch)
    expect(page.get_by_role("banner").get_by_text("Branched from a deleted conversation")).to_be_visible()
    expect(page.get_by_role("banner").get_by_role("link")).to_have_count(0)
    chat.row(named).hover()
    expect(mark).to_have_accessible_name("Branched from a deleted conversation")
    assert all("404" in text for text in complaints.texts)
    complaints.forgive()


def test_long_titles_end_in_an_ellipsis(page: Page, server: Server) -> None:
    titles = [unique(" ".join([text] * 8)) for text in ("long title", "👩‍👩‍👧‍👦 trip", "عنوان طويل جدا")]
    ids = [server.create_conversation(title) for title in titles]
    page.set_viewport_size({"width": 820, "height": 700})
    chat = Chat(page)
    for conversation_id, title in zip(ids, titles, strict=True):
        chat.open(conversation_id)
        expect(chat.link(title)).to_have_attribute("title", title)
        assert chat.link(title).evaluate(CUT)
        expect(page.get_by_role("heading", level=1)).to_have_attribute("title", title)
    page.set_viewport_size({"width": 390, "height": 700})
    assert page.get_by_role("heading", level=1).evaluate(CUT)


def test_undo_goes_away_after_a_while_but_not_under_the_pointer_or_focus(page: Page, server: Server) -> None:
    first, second, third = (unique(name) for name in ("First", "Second", "Third"))
    for title in (first, second, third):
        server.create_conversation(title, "a", "b")
    page.clock.install()
    chat = Chat(page).open()
    page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
    undo = chat.button("Undo")
    chat.choose(first, "Archive")
    expect(undo).to_be_visible()
    page.clock.run_for(9_900)
    expect(undo).to_be_visible()
    page.clock.run_for(200)
    expect(undo).to_be_hidden()
    expect(chat.box).to_be_focused()

    chat.choose(second, "Archive")
    undo.hover()
    page.clock.run_for(60_000)
    expect(undo).to_be_visible()
    chat.box.focus()
    page.keyboard.press("Shift+Tab")
    while not undo.evaluate("node => node === document.activeElement"):
        page.keyboard.press("Shift+Tab")
    page.mouse.move(5, 5)
    page.clock.run_for(60_000)
    expect(undo).to_be_visible()
    chat.box.focus()
    page.clock.run_for(9_900)
    expect(undo).to_be_visible()
    page.clock.run_for(200)
    expect(undo).to_be_hidden()

    chat.choose(third, "Delete")
    expect(undo).to_be_visible()
    chat.button("Archived").click()
    chat.link(first).click()
    expect(chat.answers).to_have_text(["b"])
    expect(undo).to_be_hidden()


def test_touch_targets_are_large_and_forced_colours_mark_the_open_conversation(
    open_context: OpenContext, server: Server
) -> None:
    title = unique("Touched")
    server.create_conversation(unique("Beside"))
    conversation_id = server.create_conversation(title, words(3), "b")
    phone = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    chat = Chat(open_context(**phone).new_page()).open(conversation_id)
    chat.button("Conversations").tap()
    expect(chat.link(title)).to_be_in_viewport()
    targets = chat.sidebar.locator("button:visible, a:visible, input:visible").all()
    assert len(targets) > 6
    for target in targets:
        box = target.bounding_box()
        assert box
        assert round(min(box["width"], box["height"]), 3) >= 44, target
    chat.row(title).get_by_role("button", name="Options").tap()
    items = chat.page.get_by_role("menuitem")
    assert all((item.bounding_box() or {})["height"] >= 44 for item in items.all())
    expect(chat.page.get_by_role("menu").locator("hr + *")).to_have_text("Delete")

    page = open_context(forced_colors="active").new_page()
    chat = Chat(page).open(conversation_id)
    colour = "node => getComputedStyle(node).backgroundColor"
    expect(chat.link(title)).to_have_attribute("aria-current", "page")
    rows = chat.sidebar.get_by_role("listitem").filter(has_not=chat.page.get_by_role("link", name=title, exact=True))
    assert rows.count() > 0
    assert chat.row(title).evaluate(colour) not in {row.evaluate(colour) for row in rows.all()}
