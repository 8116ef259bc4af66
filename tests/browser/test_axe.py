"""What axe says of the states that the page comes into, in all colours and sizes."""

from __future__ import annotations

import uuid

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.browser.conftest import Complaints, OpenContext, Server
from tests.browser.held import Held
from tests.browser.test_accessibility import SCREENS, violations

pytestmark = [pytest.mark.browser, pytest.mark.npm]

ANSWER = f"""# Title

## Smaller

Some **strong** and *soft* words, `code`, ~~what was~~ and [a page](https://example.org/).

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


@pytest.fixture(params=SCREENS)
def screen(request: pytest.FixtureRequest, open_context: OpenContext) -> Page:
    return open_context(reduced_motion="reduce", **SCREENS[request.param]).new_page()


def test_a_rich_answer(screen: Page, server: Server) -> None:
    chat = Chat(screen).open(server.create_conversation("Rich", "What do you know?", ANSWER))
    expect(chat.answers.locator("table")).to_have_count(2)
    expect(chat.answers.locator("pre")).to_have_count(3)
    assert violations(screen) == []
    chat.answers.locator("h2").first.scroll_into_view_if_needed()
    assert violations(screen) == []


def test_a_conversation_that_does_not_exist(screen: Page, complaints: Complaints) -> None:
    screen.goto(f"/c/{uuid.uuid4()}")
    expect(Chat(screen).alert).to_contain_text("does not exist, or was deleted")
    assert violations(screen) == []
    assert all("404" in text for text in complaints.texts)
    complaints.texts.clear()


def test_a_send_that_failed(screen: Page, server: Server, complaints: Complaints) -> None:
    chat = Chat(screen).open(server.create_conversation("Unsent", "one", "two"))
    held = Held(screen, "**/messages", "POST")
    chat.box.fill("not yet")
    chat.button("Send").click()
    held.until(1)
    assert violations(screen) == []
    held.lose()
    expect(chat.alert).to_contain_text("Not sent")
    assert violations(screen) == []
    complaints.texts.clear()


def test_a_deleted_conversation_that_can_come_back(screen: Page, server: Server) -> None:
    chat = Chat(screen).open(server.create_conversation(f"Undo {uuid.uuid4().hex[:6]}", "one", "two"))
    screen.get_by_role("banner").get_by_role("button", name="Options").click()
    screen.get_by_role("menuitem", name="Delete").click()
    expect(chat.button("Undo")).to_be_visible()
    assert violations(screen) == []


def test_the_bookmarks(screen: Page, server: Server) -> None:
    title = f"Marked {uuid.uuid4().hex[:6]}"
    conversation_id = server.create_conversation(title, "one", "two", "three", ANSWER)
    for message in server.messages(conversation_id)[:2]:
        server.call("PUT", f"/conversations/{conversation_id}/messages/{message['id']}/bookmark")
    chat = Chat(screen).open(conversation_id)
    if chat.button("Conversations").is_visible():
        chat.button("Conversations").click()
    chat.button("Bookmarks").click()
    expect(chat.link(title)).to_have_count(2)
    assert violations(screen) == []


def test_what_a_search_found(screen: Page, server: Server) -> None:
    word = f"w{uuid.uuid4().hex[:8]}"
    server.create_conversation(word, f"one {word}", f"two {word} again")
    chat = Chat(screen).open()
    if chat.button("Conversations").is_visible():
        chat.button("Conversations").click()
    chat.sidebar.get_by_role("searchbox", name="Search").fill(word)
    expect(chat.sidebar.locator("mark").first).to_be_visible()
    assert violations(screen) == []
