"""A company's people at the page: signing in and out, roles, and whose words these are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import hide, unique, unique_word
from tests.browser.conftest import LAN_HOST, Complaints, OpenContext, Server
from tests.browser.patient import HELD, PatientModel
from tests.browser.people import COMPANY, OTHER_COMPANY, Visit, guarded_server, stored, token_of
from tests.conftest import DatabaseMaker
from tests.kit.tokens import execute, revoke

pytestmark = pytest.mark.browser

ENDED = "Your session has ended. What you were writing is kept."


@pytest.fixture(scope="module")
def server(
    make_database: DatabaseMaker, tmp_path_factory: pytest.TempPathFactory, patient: PatientModel
) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("guarded")
    with guarded_server(make_database, folder, patient) as server:
        yield server


def create(server: Server, title: str | None = None, *questions: str) -> str:
    """The id of a new conversation with these questions, as a member may create one."""
    conversation_id: str = server.call("POST", f"/companies/{COMPANY}/conversations", {"title": title})["id"]
    for content in questions:
        server.call("POST", f"/conversations/{conversation_id}/messages", {"role": "user", "content": content})
    return conversation_id


def test_revoked_in_the_middle_of_an_answer_one_signs_in_again_and_goes_on(
    page: Page, server: Server, patient: PatientModel, complaints: Complaints
) -> None:
    ann, question = token_of(server, "Ann"), f"{HELD} {unique_word()}"
    visit = Visit(page)
    page.goto("/")
    expect(visit.token).to_be_focused()
    page.keyboard.press("Escape")
    visit.token.fill("chatserver_wrong")
    page.keyboard.press("Enter")
    expect(visit.alert).to_have_text("This token is not accepted. It may be mistyped, expired or revoked.")
    assert ["401" in text for text in complaints.texts] == [True]
    visit.sign_in(ann)
    expect(visit.account).to_have_text("Ann Acme")
    visit.ask(question)
    address = page.url
    visit.box.fill("half a thought")
    visit.messages.first.hover()
    visit.button("Edit").click()
    page.get_by_role("textbox", name="Edit message").fill("and another one")

    revoke(server.database_url, ann)
    expect(page.get_by_text(ENDED)).to_be_visible()
    expect(visit.token).to_be_focused()
    assert question not in page.content()
    assert page.title() == "chatserver"
    # Nothing more is asked for by somebody who is not signed in.
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    hide(page, True)
    hide(page, False)
    page.wait_for_function("() => new Promise((done) => setTimeout(done, 2500, true))")
    assert requests == []

    again = token_of(server, "Ann")
    visit.sign_in(again)
    expect(visit.box).to_have_value("half a thought\n\nand another one")
    expect(visit.questions).to_have_text([question])
    assert page.url == address
    for token in (ann, again):
        assert token.text not in page.content() + stored(page) + "".join(complaints.texts)

    # Somebody else at this browser finds nothing of it.
    revoke(server.database_url, again)
    expect(page.get_by_text(ENDED)).to_be_visible()
    visit.sign_in(token_of(server, "Bob"))
    expect(visit.questions).to_have_text([question])
    expect(visit.box).to_have_value("")
    assert "thought" not in stored(page)
    complaints.forgive()


def test_nothing_is_sent_on_behalf_of_somebody_else(page: Page, server: Server, complaints: Complaints) -> None:
    ann, first, second = token_of(server, "Ann"), f"{HELD} {unique_word()}", unique_word()
    visit = Visit(page).arrive(ann)
    visit.ask(first)
    visit.box.fill(second)
    visit.send.click()
    expect(page.get_by_role("group", name="Waiting message")).to_be_visible()
    page.route("**/messages", lambda route: route.abort())
    visit.box.fill("never sent")
    visit.send.click()
    expect(visit.alert).to_contain_text("Not sent")
    page.unroute("**/messages")
    revoke(server.database_url, ann)
    expect(page.get_by_text(ENDED)).to_be_visible()

    visit.sign_in(token_of(server, "Bob"))
    expect(visit.questions).to_have_text([first, second])
    page.reload()
    expect(visit.questions).to_have_text([first, second])
    expect(visit.alert).to_have_count(0)
    answers = [one for one in server.messages(visit.conversation_id) if one["role"] == "assistant"]
    assert answers == []
    complaints.forgive()


def test_reader_reads_and_follows_what_others_do(
    page: Page, open_context: OpenContext, server: Server, patient: PatientModel
) -> None:
    ann = server.used_by(token_of(server, "Ann"))
    title, word = unique("Read"), unique_word()
    conversation_id = create(ann, title, f"{HELD} {word}")
    server.call("POST", f"/conversations/{conversation_id}/messages", {"role": "assistant", "content": "an answer"})
    create(ann, unique("Other"), f"about {word}")
    rita = Visit(page).arrive(token_of(server, "Rita", "reader"))
    expect(page.get_by_role("heading", name="Choose a conversation to read")).to_be_visible()
    expect(rita.account).to_have_text("Rita Acme · Reader")
    rita.link(title).click()
    expect(rita.answers).to_have_text(["an answer"])
    for message in rita.messages.all():
        message.hover()
        expect(message.get_by_role("button")).to_have_count(1)
        expect(message.get_by_role("button", name="Copy")).to_be_visible()
    expect(page.get_by_text("You can read here, but not write.")).to_be_visible()
    for part in (rita.box, rita.agent, rita.button("New conversation"), rita.button("Agents")):
        expect(part).to_be_hidden()
    rita.options.click()
    names = ["Export as Markdown", "Export as JSON"]
    expect(page.get_by_role("menuitem")).to_have_text(names)
    with page.expect_download() as download:
        page.get_by_role("menuitem", name=names[1]).click()
    assert word in Path(download.value.path()).read_text()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("option").filter(has_text=title)).to_be_visible()
    expect(
        page.get_by_role("option").filter(has_text=re.compile("Rename|Delete|New conversation|agents"))
    ).to_have_count(0)
    page.keyboard.press("Escape")
    rita.sidebar.get_by_role("searchbox", name="Search").fill(word)
    expect(rita.sidebar.locator("mark")).to_have_count(2)

    # What Ann asks appears, with its answer word by word, and so does what she edits.
    other = Visit(open_context().new_page()).arrive(token_of(server, "Ann"), f"/c/{conversation_id}")
    question = f"{HELD} {unique_word()}"
    other.ask(question)
    expect(rita.questions.last).to_have_text(question)
    expect(rita.answers.last).to_have_text(f"Answer to {question}")
    patient.release(question)
    expect(rita.answers.last).to_have_text(f"Answer to {question}.")
    other.until_answered()
    other.button("Regenerate").click()
    patient.release(question)
    expect(other.page.get_by_role("group", name="Version 2 of 2")).to_be_visible()
    expect(rita.answers.last).to_have_text(f"Answer to {question}.")
    expect(page.get_by_role("group", name=re.compile("Version"))).to_have_count(0)
    # A question that nobody has answered, and an answer that failed, are said; nobody is asked to retry.
    failing = f"{HELD} {unique_word()}"
    other.ask(failing)
    expect(rita.answers.last).to_have_text(f"Answer to {failing}")
    patient.fail(failing)
    expect(rita.main.locator(".failed")).to_be_visible()
    expect(rita.main.get_by_role("button", name="Retry")).to_have_count(0)


def test_people_see_who_wrote_what_and_change_only_their_own(
    page: Page, open_context: OpenContext, server: Server, complaints: Complaints
) -> None:
    title, words = unique("Ours"), [unique_word() for _ in range(2)]
    bob = Visit(open_context().new_page()).arrive(token_of(server, "Bob"))
    bob.ask(words[0]).until_answered()
    conversation_id = bob.conversation_id
    server.call("PATCH", f"/conversations/{conversation_id}", {"title": title})
    ann = Visit(page).arrive(token_of(server, "Ann"), f"/c/{conversation_id}")
    ann.ask(words[1]).until_answered()
    for visit, own, other, name in ((ann, words[1], words[0], "Bob"), (bob, words[0], words[1], "Ann")):
        theirs, mine = visit.message(other).first, visit.message(own).first
        expect(theirs.get_by_text(name, exact=True)).to_be_visible()
        expect(theirs).to_have_accessible_name(re.compile(f"^{name}, "))
        expect(mine).to_have_accessible_name(re.compile("^You, "))
        expect(mine.locator(".author")).to_have_count(0)
        expect(theirs.get_by_role("button", name="Edit")).to_have_count(0)
        expect(mine.get_by_role("button", name="Edit")).to_have_count(1)
    expect(ann.button("Agents")).to_be_hidden()
    ann.agent.click()
    expect(page.get_by_role("dialog", name="Choose an agent")).to_be_visible()
    expect(ann.button("Manage agents…")).to_have_count(0)
    page.keyboard.press("Escape")
    ann.sidebar.get_by_role("searchbox", name="Search").fill(words[0])
    hits = ann.sidebar.get_by_role("listitem")
    expect(hits.filter(has_text=re.compile("Bob · "))).to_have_count(1)

    # What was written before people signed in bears no name, and a manager may change all.
    execute(server.database_url, "UPDATE chat_messages SET author = NULL WHERE content = %s", words[0])
    mia = Visit(open_context().new_page()).arrive(token_of(server, "Mia", "manager"), f"/c/{conversation_id}")
    expect(mia.message(words[0]).first).to_have_accessible_name(re.compile("^Somebody, "))
    expect(mia.messages.locator(".author").filter(has_text="Ann")).to_have_count(1)
    expect(mia.messages.get_by_role("button", name="Edit")).to_have_count(2)
    expect(mia.button("Agents")).to_be_visible()

    # Bob loses his role while he writes: he is told, and his words are kept.
    bob.box.fill("not any more")
    execute(server.database_url, "UPDATE api_tokens SET role = 'reader' WHERE name = 'Bob'")
    bob.send.click()
    expect(bob.alert).to_have_text(re.compile("Your role here has changed. It is now: Reader"))
    expect(bob.box).to_be_hidden()
    execute(server.database_url, "UPDATE api_tokens SET role = 'member' WHERE name = 'Bob'")
    hide(bob.page, False)
    expect(bob.alert).to_contain_text("It is now: Member")
    expect(bob.message("not any more")).to_be_visible()
    complaints.forgive()


# Over plain HTTP, browsers do not obey Clear-Site-Data except for the machine itself.
@pytest.mark.parametrize("host", ["127.0.0.1", LAN_HOST])
def test_signing_out_everywhere_ends_all_tabs_and_browsers(
    open_context: OpenContext, server: Server, complaints: Complaints, host: str
) -> None:
    ann, url = token_of(server, "Ann"), server.url.replace("127.0.0.1", host)
    context = open_context(base_url=url)
    first, elsewhere = Visit(context.new_page()), Visit(open_context().new_page())
    first.arrive(ann).ask(unique_word()).until_answered()
    second = Visit(context.new_page())
    second.page.goto("/")
    expect(second.account).to_be_visible()
    second.box.fill("for me only")
    second.sidebar.get_by_role("link").first.click()
    expect(second.box).to_have_value("")
    assert "for me only" in stored(second.page)
    first.box.fill("for all my tabs")
    elsewhere.arrive(ann)
    for visit in (first, elsewhere):
        visit.account.click()
        expect(visit.item("Sign out everywhere")).to_contain_text("In all browsers where this token was used")
        visit.page.keyboard.press("Escape")
    first.page.evaluate("look.set('theme', 'dark')")

    first.choose_account("Sign out everywhere")
    for visit in (first, second, elsewhere):
        expect(visit.token).to_be_visible()
    for visit in (first, second):
        expect(visit.page).to_have_url(f"{url}/")
        assert stored(visit.page) == "[[],[]]"
    assert first.page.evaluate("look.get('theme')") == "dark"
    # Whoever signs in is there in all tabs of the browser.
    first.sign_in(token_of(server, "Bob"))
    expect(second.account).to_have_text("Bob Acme")
    expect(second.box).to_have_value("")
    complaints.forgive()


def test_companies_are_chosen_by_name_and_links_lead_to_theirs(page: Page, server: Server) -> None:
    root = token_of(server, "Root", company=None)
    theirs = server.used_by(root).call("POST", f"/companies/{OTHER_COMPANY}/conversations", {"title": "Theirs"})["id"]
    ours = create(server, unique("Ours"))
    visit = Visit(page).arrive(root, f"/c/{ours}")
    expect(visit.account).to_have_text("Root Acme")
    visit.account.click()
    companies = page.get_by_role("menuitemradio")
    expect(companies).to_have_text(["00000000", "Acme"])
    expect(companies.nth(1)).to_have_attribute("aria-checked", "true")
    page.keyboard.press("ArrowDown")
    expect(companies.nth(1)).to_be_focused()
    companies.first.click()
    expect(visit.account).to_have_text("Root 00000000")
    expect(visit.link("Theirs")).to_be_visible()
    page.goto(f"/c/{ours}")
    expect(visit.account).to_have_text("Root Acme")
    page.goto(f"/c/{theirs}")
    expect(visit.account).to_have_text("Root 00000000")
    expect(page.get_by_role("heading", level=1)).to_have_text("Theirs")
    # A link within the page, too.
    page.evaluate(
        """(address) => {
          history.pushState(null, "", address);
          dispatchEvent(new PopStateEvent("popstate"));
        }""",
        f"/c/{ours}",
    )
    expect(visit.account).to_have_text("Root Acme")
