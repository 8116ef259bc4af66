"""axe finds no violation in any state of the page, light, dark and on a phone."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.acting_model import ActingModel
from tests.browser.chat import Chat, unique, unique_word, words
from tests.browser.conftest import Complaints, OpenContext, Server
from tests.browser.held import Held
from tests.kit.in_thread import InThread
from tests.needs import NODE_FOLDER

pytestmark = [pytest.mark.browser, pytest.mark.npm]

AXE = NODE_FOLDER / "node_modules" / "axe-core" / "axe.min.js"
SCREENS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 375, "height": 700}, "has_touch": True, "is_mobile": True},
}
ANSWER = f"""# Title

## Smaller

Some **strong** and *soft* words, `code`, ~~what was~~ and [a page](https://example.org/).

Then \\(x < 1\\) and $y_1$[^1], but `a\u202eb`.

$$\\begin{{aligned}} x &= 1 \\\\ y &= 2 \\end{{aligned}}$$

[^1]: as is known

> A quotation, in which there is `code`, too.

1. one
   - [ ] open
   - [x] done
2. two

| left | right |
| :--- | ----: |
| a | `1` |

{"| column " * 30}|
{"| --- " * 30}|
{"| value " * 30}|

```python
@cached
class A(B):  # a comment
    '''What it is.'''
    def f(self, x: int = 0x1F) -> str:
        if x is None or not isinstance(x, int):
            raise ValueError(f"{{x!r}}\\n {"is not one" * 20}")
        return r"\\d+" + "text" * 3.5e2
```

```diff
- gone
+ new
@@ 1,2 @@
```

```html
<!-- comment --><a href="x" class='y'>&amp; text</a>
```

---

### Even smaller
"""


def violations(page: Page) -> list[str]:
    """The violations that axe finds with all of its rules."""
    page.evaluate(Path(AXE).read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [f"{one['id']}: {node['html']} {node.get('failureSummary')}" for one in found for node in one["nodes"]]


@pytest.fixture(params=SCREENS)
def screen(request: pytest.FixtureRequest, open_context: OpenContext) -> Page:
    return open_context(reduced_motion="reduce", **SCREENS[request.param]).new_page()


def test_new_conversation_has_no_axe_violations(screen: Page, server: Server) -> None:
    away, slow = unique("Away"), unique("Slow")
    server.create_agent(away, "away")
    server.create_agent(slow, "slow")
    pinned = server.create_conversation("Pinned", "a", "b")
    server.call("POST", f"/conversations/{pinned}/pin")
    chat = Chat(screen).open()
    expect(screen.get_by_text("Pinned", exact=True).first).to_be_attached()
    assert violations(screen) == []

    chat.open(server.create_conversation("Full", "question", "answer"))
    chat.choose_agent(away)
    chat.box.fill("anybody?")
    chat.send.click()
    expect(chat.alert).to_be_visible()
    assert violations(screen) == []

    chat.choose_agent(slow)
    chat.ask(words(300))
    assert violations(screen) == []
    chat.button("Stop").click()
    chat.until_answered()
    chat.messages.last.hover()
    assert violations(screen) == []

    chat.button("Edit").last.click()
    expect(screen.get_by_role("textbox", name="Edit message")).to_be_focused()
    assert violations(screen) == []
    screen.keyboard.press("Escape")

    chat.options.click()
    assert violations(screen) == []
    screen.get_by_role("menuitem", name="Rename").click()
    assert violations(screen) == []
    screen.keyboard.press("Escape")
    if chat.button("Conversations").is_visible():
        chat.button("Conversations").click()
        expect(chat.button("Close")).to_be_in_viewport()
        assert violations(screen) == []
    server.call("POST", f"/conversations/{pinned}/unpin")


def test_ends_of_answers_have_no_axe_violations(
    screen: Page, server: Server, acting_model: InThread[ActingModel]
) -> None:
    server.create_agent("Understudy", "slow")
    chat = Chat(screen).open(server.create_conversation("Ends", agent_id=server.create_agent("Actor", "acting")))
    chat.box.fill("think twice")
    chat.send.click()
    expect(chat.main.get_by_text("Six times")).to_be_visible()
    assert violations(screen) == []
    acting_model.run(acting_model.part.let_go())
    chat.until_answered()
    chat.button("Edit").click()
    screen.get_by_role("textbox", name="Edit message").fill("limit it")
    chat.send_edited.click()
    expect(chat.button("Continue")).to_be_visible()
    expect(screen.get_by_role("group", name="Version 2 of 2")).to_have_count(1)
    assert violations(screen) == []
    screen.get_by_role("button", name=re.compile("^Details")).focus()
    screen.keyboard.press("Enter")
    expect(screen.get_by_text(re.compile("^Actor · stage"))).to_be_visible()
    assert violations(screen) == []
    for text in ("break it", "deny it"):
        chat.box.fill(f"{text} {unique_word()}")
        chat.send.click()
        expect(chat.alert).to_be_visible()
        assert violations(screen) == []
    chat.button("Answer with another agent").click()
    expect(screen.get_by_role("menuitem").first).to_be_focused()
    assert violations(screen) == []


def test_rich_answer_has_no_axe_violations(screen: Page, server: Server) -> None:
    server.until_rendered(ANSWER)
    chat = Chat(screen).open(server.create_conversation("Rich", "What do you know?", ANSWER))
    expect(chat.answers.locator("table")).to_have_count(2)
    expect(chat.answers.locator("pre")).to_have_count(3)
    assert violations(screen) == []
    chat.answers.locator("h2").first.scroll_into_view_if_needed()
    assert violations(screen) == []


def test_missing_conversation_has_no_axe_violations(screen: Page, complaints: Complaints) -> None:
    screen.goto(f"/c/{uuid.uuid4()}")
    expect(Chat(screen).alert).to_contain_text("does not exist, or was deleted")
    assert violations(screen) == []
    assert all("404" in text for text in complaints.texts)
    complaints.forgive()


def test_failed_send_has_no_axe_violations(screen: Page, server: Server, complaints: Complaints) -> None:
    chat = Chat(screen).open(server.create_conversation("Unsent", "one", "two"))
    held = Held(screen, "**/messages", "POST")
    chat.box.fill("not yet")
    chat.send.click()
    held.until(1)
    assert violations(screen) == []
    held.lose()
    expect(chat.alert).to_contain_text("Not sent")
    assert violations(screen) == []
    complaints.forgive()


def test_undo_of_delete_has_no_axe_violations(screen: Page, server: Server) -> None:
    chat = Chat(screen).open(server.create_conversation(unique("Undo"), "one", "two"))
    chat.options.click()
    screen.get_by_role("menuitem", name="Delete").click()
    expect(chat.button("Undo")).to_be_visible()
    assert violations(screen) == []


def test_bookmark_list_has_no_axe_violations(screen: Page, server: Server) -> None:
    title, question = unique("Marked"), unique_word()
    conversation_id = server.create_conversation(title, question, "two", "three", ANSWER)
    for message in server.messages(conversation_id)[:2]:
        server.call("PUT", f"/conversations/{conversation_id}/messages/{message['id']}/bookmark")
    chat = Chat(screen).open(conversation_id)
    if chat.button("Conversations").is_visible():
        chat.button("Conversations").click()
    chat.button("Bookmarks").click()
    expect(chat.sidebar.get_by_role("heading", name=title).get_by_role("link")).to_have_count(1)
    expect(chat.link(question)).to_be_visible()
    assert violations(screen) == []


def test_search_results_have_no_axe_violations(screen: Page, server: Server) -> None:
    word = unique_word()
    server.create_conversation(word, f"one {word}", f"two {word} again")
    chat = Chat(screen).open()
    if chat.button("Conversations").is_visible():
        chat.button("Conversations").click()
    chat.sidebar.get_by_role("searchbox", name="Search").fill(word)
    expect(chat.sidebar.locator("mark").first).to_be_visible()
    assert violations(screen) == []
    chat.button("Archived").click()
    chat.sidebar.get_by_role("searchbox", name="Search").fill(word)
    expect(chat.button("Search all conversations")).to_be_visible()
    assert violations(screen) == []


def test_marked_conversations_have_no_axe_violations(screen: Page, server: Server) -> None:
    slow = server.create_agent("Slow", "slow")
    parent = server.create_conversation(unique("Parent"), "one", "two")
    message_id = server.messages(parent)[1]["id"]
    branch = server.call("POST", f"/conversations/{parent}/branch", {"messageId": message_id})["id"]
    busy, unseen = unique("Busy"), unique("Unseen")
    Chat(screen).open(server.create_conversation(busy, agent_id=slow)).ask(words(300))
    screen.evaluate(
        "(id) => localStorage.setItem('chatserver unseen', id)", server.create_conversation(unseen, "one", "two")
    )
    chat = Chat(screen).open(branch)
    expect(screen.get_by_role("link", name="Branched from “Parent")).to_be_visible()
    if chat.button("Conversations").is_visible():
        chat.button("Conversations").click()
    expect(chat.link(busy)).to_have_accessible_description("Answering")
    expect(chat.link(unseen)).to_have_accessible_description("New answer")
    assert violations(screen) == []
    if chat.button("Hide the sidebar").is_visible():
        chat.button("Hide the sidebar").click()
        expect(chat.link(busy)).to_be_hidden()
        assert violations(screen) == []


def test_agents_have_no_axe_violations(screen: Page, server: Server, complaints: Complaints) -> None:
    name = unique("Slow")
    for agent in (name, *(unique("Other") for _ in range(8))):
        server.create_agent(agent, "slow")
    chat = Chat(screen).open()
    expect(chat.main.get_by_role("group", name="Agents")).to_be_visible()
    assert violations(screen) == []
    chat.agent.click()
    expect(screen.get_by_role("option").first).to_be_visible()
    assert violations(screen) == []
    screen.keyboard.press("Escape")
    chat.choose_agent(name, once=True)
    assert violations(screen) == []

    chat.agent.click()
    chat.button("Manage agents…").click()
    dialog = screen.get_by_role("dialog")
    expect(dialog.get_by_role("listitem").first).to_be_visible()
    assert violations(screen) == []
    dialog.get_by_role("button").filter(has=screen.get_by_text(name, exact=True)).click()
    assert violations(screen) == []
    dialog.get_by_label("Temperature").fill("9")
    dialog.get_by_label("Try it").fill(words(300))
    chat.button("Save and try").click()
    expect(dialog.get_by_label("Temperature")).to_have_attribute("aria-invalid", "true")
    assert violations(screen) == []
    complaints.forgive()
    dialog.get_by_label("Temperature").fill("1")
    chat.button("Save and try").click()
    expect(dialog.get_by_role("region", name="Answer")).to_contain_text("word3")
    assert violations(screen) == []
    dialog.get_by_label("Temperature").fill("2")
    dialog.get_by_role("button", name="Close", exact=True).click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    assert violations(screen) == []
    chat.button("Discard").click()


def test_dialogs_of_the_page_have_no_axe_violations(screen: Page, server: Server) -> None:
    title = unique("Found")
    chat = Chat(screen).open(server.create_conversation(title, "one", "two"))
    screen.keyboard.press("Control+k")
    expect(screen.get_by_role("option").filter(has_text=title)).to_be_visible()
    assert violations(screen) == []
    screen.keyboard.type(unique_word())
    expect(screen.get_by_text("Nothing has this name.")).to_be_visible()
    assert violations(screen) == []
    screen.keyboard.press("Escape")

    if chat.button("Conversations").is_visible():
        chat.button("Conversations").click()
    chat.button("Settings").click()
    expect(screen.get_by_role("dialog", name="Settings")).to_be_visible()
    assert violations(screen) == []
    chat.button("Keyboard shortcuts").click()
    expect(screen.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    assert violations(screen) == []


@pytest.mark.parametrize("locale", ["de-DE", "ar-EG"])
def test_page_in_other_languages_has_no_axe_violations(open_context: OpenContext, server: Server, locale: str) -> None:
    page = open_context(reduced_motion="reduce", locale=locale).new_page()
    page.goto(f"/c/{server.create_conversation(unique('Here'), 'one', 'two')}")
    expect(page.get_by_role("article")).to_have_count(2)
    assert violations(page) == []
    page.locator("#settings").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []
