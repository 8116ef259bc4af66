"""Messages that are sent while an answer is generated wait for their turn, and each is answered once."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

from tests.browser.chat import Chat, hide
from tests.browser.conftest import Complaints, Server
from tests.browser.held import Held, until
from tests.browser.patient import HELD, PatientModel

pytestmark = pytest.mark.browser


def waiting(chat: Chat) -> Locator:
    """The lines below messages that wait."""
    return chat.main.get_by_role("group", name="Waiting message")


def line_of(chat: Chat, text: str) -> Locator:
    """The line below the message with this text, if it waits."""
    return chat.message(text).locator("xpath=following-sibling::*[1]").and_(waiting(chat))


def answering(page: Page, server: Server, title: str, text: str = HELD) -> Chat:
    """A conversation whose first answer is being generated until its model is told to end it."""
    agent = server.create_agent("Patient", "patient")
    chat = Chat(page).open(server.create_conversation(title, agent_id=agent))
    chat.box.fill(text)
    chat.box.press("Enter")
    expect(chat.answers).to_have_text(f"Answer to {text}")
    return chat


def answers_to(*texts: str) -> list[str]:
    return [f"Answer to {text}." for text in texts]


def queue(chat: Chat, *texts: str) -> None:
    for text in texts:
        chat.box.fill(text)
        chat.box.press("Enter")
        expect(chat.box).to_have_value("")
        expect(line_of(chat, text)).to_contain_text("Waiting")


def note_streams(page: Page) -> list[str]:
    """The addresses of the streams that the page asks for from now on."""
    urls: list[str] = []

    def note(request: Request) -> None:
        if "/stream?" in request.url:
            urls.append(request.url)

    page.on("request", note)
    return urls


def stored(server: Server, conversation_id: str) -> list[str]:
    """What was asked and answered, in the order of writing. No message has two answers."""
    messages: list[dict[str, Any]] = server.messages(conversation_id)
    answered = [message["replyTo"] for message in messages if message["role"] == "assistant"]
    assert len(set(answered)) == len(answered)
    return [message["content"] for message in messages]


def test_waiting_messages_are_answered_in_order_over_a_reload(
    page: Page, server: Server, patient: PatientModel
) -> None:
    chat = answering(page, server, "In order")
    streams = note_streams(page)
    queue(chat, "second", "third")
    # They are stored, and take no connection.
    assert stored(server, chat.conversation_id) == [HELD, "second", "third"]
    assert streams == []
    expect(chat.button("Stop")).to_be_visible()

    page.reload()
    expect(waiting(chat)).to_have_count(2)
    expect(chat.answers).to_have_text([f"Answer to {HELD}"])
    assert len(streams) == 1
    patient.release(HELD)
    chat.until_answered()
    expect(chat.questions).to_have_text([HELD, "second", "third"])
    expect(chat.answers).to_have_text(answers_to(HELD, "second", "third"))
    expect(waiting(chat)).to_have_count(0)
    texts = [HELD, "second", "third", *answers_to(HELD, "second", "third")]
    assert sorted(stored(server, chat.conversation_id)) == sorted(texts)

    page.reload()
    expect(chat.answers).to_have_text(answers_to(HELD, "second", "third"))
    expect(waiting(chat)).to_have_count(0)
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.includes('waiting'))") == []


def test_unanswered_messages_behind_an_answer_wait_in_any_browser(
    page: Page, server: Server, patient: PatientModel
) -> None:
    """One that knows of them from the server only asks for their answers, too."""
    chat = answering(page, server, "Elsewhere", "hold elsewhere")
    for text in ("one", "two"):
        server.call("POST", f"/conversations/{chat.conversation_id}/messages", {"role": "user", "content": text})
    page.reload()
    expect(waiting(chat)).to_have_count(2)
    patient.release("hold elsewhere")
    chat.until_answered()
    expect(chat.answers).to_have_text(answers_to("hold elsewhere", "one", "two"))
    assert len(stored(server, chat.conversation_id)) == 6


def test_waiting_message_can_be_taken_back(page: Page, server: Server, patient: PatientModel) -> None:
    chat = answering(page, server, "Taken", "hold taken")
    queue(chat, "a slip", "a question")
    chat.box.fill("more")
    line_of(chat, "a slip").get_by_role("button", name="Take back").click()
    expect(chat.questions).to_have_text(["hold taken", "a question"])
    expect(chat.box).to_have_value("more\n\na slip")
    expect(chat.box).to_be_focused()
    assert stored(server, chat.conversation_id) == ["hold taken", "a question"]
    page.reload()
    expect(waiting(chat)).to_have_count(1)
    expect(chat.box).to_have_value("more\n\na slip")
    # Stop ends the answer that is being generated. What waits behind it begins.
    chat.button("Stop").click()
    chat.until_answered()
    expect(chat.main.get_by_text("stopped", exact=True)).to_be_visible()
    expect(chat.answers).to_have_text(["Answer to hold taken", *answers_to("a question")])
    expect(waiting(chat)).to_have_count(0)


def take_back_and_leave(chat: Chat, other: str) -> Held:
    """Take the waiting message back, and open another conversation before the server has erased it; the request."""
    erasing = Held(chat.page, "**/messages/*", "DELETE")
    chat.button("Take back").click()
    erasing.until(1)
    chat.link(other).click()
    expect(chat.questions).to_have_text(["a"])
    return erasing


def test_message_taken_back_goes_to_its_own_conversation(
    page: Page, server: Server, patient: PatientModel, complaints: Complaints
) -> None:
    """It does so although another one was opened before the server had erased it."""
    server.create_conversation("Beside the taken", "a", "b")
    chat = answering(page, server, "Taken late", "hold late")
    conversation_id = chat.conversation_id
    queue(chat, "for this one")
    taken = take_back_and_leave(chat, "Beside the taken")
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        taken.let_go()
    draft = "(id) => localStorage.getItem(`chatserver draft ${id}`) === 'for this one'"
    page.wait_for_function(draft, arg=conversation_id)
    expect(chat.box).to_have_value("")
    page.go_back()
    expect(chat.box).to_have_value("for this one")
    assert stored(server, conversation_id) == ["hold late"]

    # Nothing is lost if the server does not erase it, and nobody has to come back for its answer.
    queue(chat, "refused")
    refused = take_back_and_leave(chat, "Beside the taken")
    refused.lose()
    patient.release("hold late")
    until(page, lambda: len(server.messages(conversation_id)) == 4)
    texts = ["hold late", "refused"]
    assert sorted(stored(server, conversation_id)) == sorted([*texts, *answers_to(*texts)])
    complaints.forgive()


def test_message_whose_answer_has_begun_cannot_be_taken_back(
    page: Page, server: Server, patient: PatientModel, complaints: Complaints
) -> None:
    chat = answering(page, server, "Too late", "hold the first")
    queue(chat, "hold the second")
    taken = Held(page, "**/messages/*", "DELETE")
    line_of(chat, "hold the second").get_by_role("button", name="Take back").click()
    taken.until(1)
    # Somebody else wants its answer.
    second = server.messages(chat.conversation_id)[1]["id"]
    page.evaluate(
        "(url) => { window.other = new EventSource(url); }",
        f"/api/conversations/{chat.conversation_id}/stream?triggerMessageId={second}&whenBusy=interrupt",
    )
    expect(chat.answers).to_have_text(["Answer to hold the second"])
    taken.let_go()
    expect(chat.alert).to_contain_text("its answer has begun")
    patient.release("hold the second")
    chat.until_answered()
    expect(chat.alert).to_have_count(0)
    expect(chat.box).to_have_value("")
    expect(chat.questions).to_have_text(["hold the first", "hold the second"])
    complaints.forgive()


def test_message_sent_now_ends_the_other_answer(page: Page, server: Server, patient: PatientModel) -> None:
    """What was shown of the other answer stays. The other messages go on waiting, and follow."""
    chat = answering(page, server, "Urgent", "hold on")
    queue(chat, "can wait", "hold no longer")
    streams = note_streams(page)
    line_of(chat, "hold no longer").get_by_role("button", name="Send now").click()
    expect(chat.main.get_by_text("stopped", exact=True)).to_be_visible()
    expect(chat.answers).to_have_text(["Answer to hold on", "Answer to hold no longer"])
    expect(line_of(chat, "can wait")).to_be_visible()
    expect(chat.box).to_be_focused()
    assert sum("whenBusy=interrupt" in url for url in streams) == 1
    patient.release("hold no longer")
    chat.until_answered()
    expect(chat.answers).to_have_text(["Answer to hold on", *answers_to("can wait", "hold no longer")])
    expect(waiting(chat)).to_have_count(0)
    stored(server, chat.conversation_id)


def test_waiting_messages_are_answered_once_whichever_tabs_look(
    context: BrowserContext, server: Server, patient: PatientModel
) -> None:
    first = answering(context.new_page(), server, "Two tabs", "hold both")
    second = Chat(context.new_page()).open(first.conversation_id)
    expect(second.answers).to_have_text("Answer to hold both")
    queue(second, "from the second")
    expect(line_of(first, "from the second")).to_be_visible()
    queue(first, "from the first")
    for chat in (first, second):
        expect(waiting(chat)).to_have_count(2)
    patient.release("hold both")
    texts = ["hold both", "from the second", "from the first"]
    for chat in (first, second):
        chat.until_answered()
        expect(chat.answers).to_have_text(answers_to(*texts))
        expect(waiting(chat)).to_have_count(0)
    assert len(stored(server, first.conversation_id)) == 6

    # The tab that closes leaves its messages to the other one.
    second.box.fill("hold again")
    second.box.press("Enter")
    expect(first.answers.last).to_have_text("Answer to hold again")
    queue(second, "last words")
    expect(line_of(first, "last words")).to_be_visible()
    second.page.close()
    patient.release("hold again")
    first.until_answered()
    expect(first.answers).to_have_text(answers_to(*texts, "hold again", "last words"))
    assert len(stored(server, first.conversation_id)) == 10


def test_waiting_messages_are_answered_while_nobody_looks(page: Page, server: Server, patient: PatientModel) -> None:
    """The tab is hidden, or shows another conversation."""
    chat = answering(page, server, "Unseen", "hold unseen")
    queue(chat, "one", "two")
    conversation_id = chat.conversation_id
    with page.expect_response(lambda response: response.url.endswith("whenBusy=enqueue")):
        hide(page, True)
    patient.release("hold unseen")
    until(page, lambda: len(server.messages(conversation_id)) == 6)
    hide(page, False)
    chat.until_answered()
    expect(chat.answers).to_have_text(answers_to("hold unseen", "one", "two"))

    chat.box.fill("hold unread")
    chat.box.press("Enter")
    expect(chat.answers.last).to_have_text("Answer to hold unread")
    queue(chat, "three")
    with page.expect_response(lambda response: response.url.endswith("whenBusy=enqueue")):
        chat.button("New conversation").click()
    patient.release("hold unread")
    until(page, lambda: len(server.messages(conversation_id)) == 10)
    page.go_back()
    chat.until_answered()
    expect(chat.answers.last).to_have_text(answers_to("three"))
    expect(waiting(chat)).to_have_count(0)
    stored(server, conversation_id)


def test_waiting_messages_are_answered_after_their_tab_was_closed(
    context: BrowserContext, server: Server, patient: PatientModel
) -> None:
    chat = answering(context.new_page(), server, "Closed", "hold closed")
    conversation_id = chat.conversation_id
    queue(chat, "one", "two", "three")
    page = context.new_page()
    chat.page.close(run_before_unload=True)
    patient.release("hold closed")
    until(page, lambda: len(server.messages(conversation_id)) == 8)
    texts = ["hold closed", "one", "two", "three"]
    assert sorted(stored(server, conversation_id)) == sorted([*texts, *answers_to(*texts)])


def test_messages_wait_without_storage(context: BrowserContext, server: Server, patient: PatientModel) -> None:
    """A browser can turn storage off, or it is full. Then drafts are kept by the tab, too."""
    context.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage'])"
        " Object.defineProperty(window, name, {get() { throw new DOMException('off', 'SecurityError'); }})"
    )
    server.create_conversation("Beside the forgetful", "a", "b")
    chat = answering(context.new_page(), server, "Forgetful", "hold in mind")
    queue(chat, "second", "third")
    patient.release("hold in mind")
    chat.until_answered()
    expect(chat.answers).to_have_text(answers_to("hold in mind", "second", "third"))
    expect(waiting(chat)).to_have_count(0)
    chat.box.fill("a draft")
    chat.link("Beside the forgetful").click()
    expect(chat.box).to_have_value("")
    chat.link("Forgetful").click()
    expect(chat.box).to_have_value("a draft")


def test_messages_wait_behind_an_answer_that_failed(
    page: Page, server: Server, patient: PatientModel, complaints: Complaints
) -> None:
    """They may build on it, so nothing is asked until somebody tries it again, or goes on."""
    chat = answering(page, server, "Failed", "hold or fail")
    queue(chat, "thanks to that")
    patient.fail("hold or fail")
    expect(chat.alert).to_be_visible()
    expect(line_of(chat, "thanks to that")).to_contain_text("On hold")
    page.reload()
    expect(line_of(chat, "thanks to that")).to_contain_text("On hold")
    expect(chat.button("Stop")).to_be_hidden()
    chat.button("Retry").click()
    expect(chat.answers).to_have_text(["Answer to hold or fail"])
    expect(line_of(chat, "thanks to that")).to_contain_text("Waiting")
    patient.release("hold or fail")
    chat.until_answered()
    expect(chat.answers).to_have_text(answers_to("hold or fail", "thanks to that"))

    chat.box.fill("hold or fail again")
    chat.box.press("Enter")
    expect(chat.answers.last).to_have_text("Answer to hold or fail again")
    queue(chat, "all the same")
    patient.fail("hold or fail again")
    expect(line_of(chat, "all the same")).to_contain_text("On hold")
    chat.box.fill("go on")
    chat.box.press("Enter")
    chat.until_answered()
    first, second, *others = answers_to("hold or fail", "thanks to that", "all the same", "go on")
    # What there was of the answer that broke off stays.
    expect(chat.answers).to_have_text([first, second, "Answer to hold or fail again", *others])
    expect(waiting(chat)).to_have_count(0)
