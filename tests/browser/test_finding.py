"""Finding messages again: by searching, and by bookmarks."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.chat import Chat, unique_word
from tests.browser.conftest import Complaints, Server

pytestmark = pytest.mark.browser


def search_box(chat: Chat) -> Locator:
    return chat.sidebar.get_by_role("searchbox", name="Search")


def test_search_result_opens_its_message(page: Page, server: Server) -> None:
    word = unique_word()
    turns = [f"turn {number}" for number in range(320)]
    turns[3] += f" hides a {word} <b>in</b> it"
    conversation_id = server.create_conversation("Haystack", *turns)
    message_id = server.messages(conversation_id)[3]["id"]
    chat = Chat(page).open()
    search_box(chat).fill(f"hides {word}")
    expect(chat.sidebar.get_by_role("heading", name="Haystack")).to_be_visible()
    hit = chat.link(f"turn 3 hides a {word} <b>in</b> it")
    expect(hit.locator("mark")).to_have_text(["hides", word])
    expect(chat.sidebar.get_by_role("status")).to_have_text("1 result in 1 conversation")
    hit.click()
    expect(chat.message(word)).to_be_in_viewport()
    expect(page).to_have_url(re.compile(f"/c/{conversation_id}#m-{message_id}$"))

    chat.button("Jump to the end").click()
    expect(chat.message("turn 319")).to_be_in_viewport()
    hit.click()
    expect(chat.message(word)).to_be_in_viewport()

    page.reload()
    expect(chat.message(word)).to_be_in_viewport()


def test_cleared_search_shows_the_conversations_again(page: Page, server: Server) -> None:
    word = unique_word()
    server.create_conversation(f"About {word}", "a", "b")
    chat = Chat(page).open()
    search_box(chat).fill(word)
    expect(chat.sidebar.locator("mark")).to_have_text([word])
    search_box(chat).fill(f"{word}nowhere")
    expect(chat.sidebar.get_by_role("status")).to_have_text("Nothing found")
    expect(chat.sidebar.get_by_text(f"“{word}nowhere” is in no conversation, archived ones included.")).to_be_visible()
    search_box(chat).press("Escape")
    expect(search_box(chat)).to_have_value("")
    expect(chat.link(f"About {word}")).to_be_visible()
    expect(chat.sidebar.locator("mark")).to_have_count(0)


def test_more_button_loads_further_search_results(page: Page, server: Server) -> None:
    word = unique_word()
    for number in range(35):
        server.create_conversation(f"{word} {number}")
    chat = Chat(page).open()
    search_box(chat).fill(word)
    hits = chat.sidebar.get_by_role("link")
    expect(chat.sidebar.get_by_role("status")).to_have_text("30+ results in 30 conversations")
    expect(hits).to_have_count(30)
    chat.button("More").click()
    expect(hits).to_have_count(35)
    expect(hits.nth(30)).to_be_focused()
    expect(chat.sidebar.get_by_role("status")).to_have_text("35 results in 35 conversations")
    expect(chat.button("More")).to_have_count(0)


def test_failed_search_can_be_retried(page: Page, server: Server, complaints: Complaints) -> None:
    word = unique_word()
    server.create_conversation(word, "a", "b")
    chat = Chat(page).open()
    page.route("**/search?*", lambda route: route.abort())
    search_box(chat).fill(word)
    expect(chat.alert).to_contain_text("The server cannot be reached")
    page.unroute("**/search?*")
    chat.alert.get_by_role("button", name="Retry").click()
    expect(chat.sidebar.locator("mark")).to_have_text([word])
    complaints.forgive()


def test_bookmarks_are_set_listed_and_removed(page: Page, context: BrowserContext, server: Server) -> None:
    title, other = unique_word(), unique_word()
    chat = Chat(page).open(server.create_conversation(title, "one", "two", "three", f"{other} four"))
    star = chat.message(other).get_by_role("button", name="Bookmark")
    expect(star).to_have_attribute("aria-pressed", "false")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    expect(star).to_be_focused()
    page.reload()
    expect(star).to_have_attribute("aria-pressed", "true")

    elsewhere = Chat(context.new_page()).open()
    elsewhere.button("Bookmarks").click()
    expect(elsewhere.button("Bookmarks")).to_have_attribute("aria-pressed", "true")
    expect(elsewhere.sidebar.get_by_role("heading", name=title)).to_be_visible()
    hit = elsewhere.link(f"{other} four")
    hit.click()
    expect(elsewhere.message(other)).to_be_in_viewport()
    elsewhere.message(other).get_by_role("button", name="Bookmark").click()
    expect(hit).to_have_count(0)
    elsewhere.button("Archived").click()
    expect(elsewhere.button("Bookmarks")).to_have_attribute("aria-pressed", "false")
    elsewhere.button("Archived").click()
    expect(elsewhere.link(title)).to_be_visible()


def test_bookmark_that_could_not_be_saved_shows_error(page: Page, server: Server, complaints: Complaints) -> None:
    chat = Chat(page).open(server.create_conversation("Unmarked", "one", "two"))
    page.route("**/bookmark", lambda route: route.abort())
    star = chat.messages.last.get_by_role("button", name="Bookmark")
    star.click()
    expect(chat.alert).to_contain_text("The server cannot be reached")
    expect(star).to_have_attribute("aria-pressed", "false")
    page.unroute("**/bookmark")
    chat.alert.get_by_role("button", name="Retry").click()
    expect(star).to_have_attribute("aria-pressed", "true")
    expect(chat.alert).to_have_count(0)
    complaints.forgive()


def test_link_to_a_missing_message_says_so(page: Page, server: Server) -> None:
    conversation_id = server.create_conversation("Rewound", "one", "two")
    first, second = server.messages(conversation_id)
    server.call("POST", f"/conversations/{conversation_id}/messages/{first['id']}/rewind")
    page.goto(f"/c/{conversation_id}#m-{second['id']}")
    expect(Chat(page).alert).to_contain_text("That message is not here any more")


def test_bookmark_is_seen_in_other_tabs_at_once(context: BrowserContext, server: Server) -> None:
    conversation_id = server.create_conversation("Starred twice", "a", "b")
    first, second = (Chat(context.new_page()).open(conversation_id) for _ in range(2))
    stars = [chat.messages.last.get_by_role("button", name="Bookmark") for chat in (first, second)]
    for state in ("true", "false"):
        stars[0].click()
        for star in stars:
            expect(star).to_have_attribute("aria-pressed", state)


def test_hits_stand_below_their_conversation_and_the_archive_is_searched_alone(page: Page, server: Server) -> None:
    word = unique_word()
    often, titled, away = f"Often {word[:5]}", f"About {word}", f"Away {word[:5]}"
    server.create_conversation(often, f"{word} one", f"{word} two", "nothing", f"{word} three")
    server.create_conversation(titled, "nothing", f"{word} four")
    archived = server.create_conversation(away, f"{word} five", "nothing")
    server.call("POST", f"/conversations/{archived}/archive")
    chat = Chat(page).open()
    search_box(chat).fill(word)
    expect(chat.sidebar.get_by_role("heading", name="Found", exact=True)).to_be_visible()
    expect(chat.sidebar.get_by_role("status")).to_have_text("6 results in 3 conversations")
    group = chat.sidebar.locator("section").filter(has=page.get_by_role("link", name=often, exact=True))
    expect(group.get_by_role("listitem").get_by_role("link")).to_have_text(
        [f"{word} three", f"{word} two", f"{word} one"]
    )
    expect(group.get_by_role("heading")).to_have_text(re.compile("3 messages$"))
    expect(group.get_by_role("time").first).to_have_attribute("datetime", re.compile("Z$"))
    expect(chat.link(titled).locator("mark")).to_have_text([word])
    expect(chat.link(titled)).to_have_count(1)
    expect(chat.sidebar.locator("section").filter(has_text=away)).to_contain_text("Archived")

    chat.button("Archived").click()
    expect(chat.sidebar.get_by_role("heading", name="Archived", exact=True)).to_be_visible()
    expect(search_box(chat)).to_have_attribute("placeholder", "Search the archive")
    search_box(chat).fill(word)
    expect(chat.sidebar.get_by_role("heading", name="Found in the archive")).to_be_visible()
    expect(chat.sidebar.get_by_role("status")).to_have_text("1 result in 1 conversation")
    expect(chat.link(f"{word} five")).to_be_visible()

    search_box(chat).fill(f"{word} four")
    expect(chat.sidebar.get_by_text("The others were not searched")).to_be_visible()
    chat.button("Search all conversations").click()
    expect(chat.link(f"{word} four")).to_be_visible()
    expect(chat.sidebar.get_by_role("heading", name="Found", exact=True)).to_be_visible()
