"""Finished answers as the server rendered their Markdown."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.chat import ECHO, Chat, words
from tests.browser.conftest import OpenContext, Server

pytestmark = pytest.mark.browser

CODE = 'def f(x: int) -> str:\n    return f"<b>{x}</b>"  # not bold\n'
ANSWER = f"""Some **strong** words and `a < b`.

# Title

1. one
2. two

| left | right |
| :--- | ----: |
| a | 1 |

```python
{CODE}```

[a page](https://example.org/path?a=1&b=2), https://example.net/ and [not one](/c/here).
"""
WIDE = f"""{"| column " * 40}|
{"| --- " * 40}|
{"| `value` " * 40}|

```
{"x" * 500}
```

{"unbroken" * 100}
"""


def test_markdown_of_an_answer_is_shown_as_elements(page: Page, server: Server) -> None:
    server.until_rendered(ANSWER)
    chat = Chat(page).open(server.create_conversation("Rich", "**not strong**", ANSWER))
    answer = chat.answers
    expect(answer.locator("strong")).to_have_text("strong")
    expect(answer.locator("p > code")).to_have_text("a < b")
    expect(answer.get_by_role("heading", name="Title", level=2)).to_be_visible()
    expect(answer.get_by_role("listitem")).to_have_text(["one", "two"])
    expect(answer.get_by_role("cell", name="1")).to_have_css("text-align", "end")
    expect(answer.locator("pre .k").first).to_have_text("def")
    expect(answer.locator("pre .k").first).not_to_have_css(
        "color", answer.evaluate("(it) => getComputedStyle(it).color")
    )
    assert answer.locator("pre").text_content() == CODE
    links = answer.get_by_role("link")
    expect(links).to_have_text(["a page", "https://example.net/"])
    expect(links.first).to_have_attribute("href", "https://example.org/path?a=1&b=2")
    for link in links.all():
        expect(link).to_have_attribute("target", "_blank")
        expect(link).to_have_attribute("rel", re.compile("noopener noreferrer"))
    expect(answer).to_contain_text("[not one](/c/here)")
    expect(chat.questions).to_have_text("**not strong**")
    expect(chat.questions.locator("strong")).to_have_count(0)


def test_answer_is_rendered_while_it_streams_and_when_finished(page: Page, server: Server) -> None:
    agent = server.create_agent("Slow", "slow")
    chat = Chat(page).open(server.create_conversation("Growing", agent_id=agent))
    server.until_rendered(f"{ECHO}**first** {words(60)} `last`")
    chat.ask(f"**first** {words(60)} `last`")
    expect(chat.answers).to_contain_text("first word0 word1 ")
    expect(chat.answers.locator("strong")).to_have_text("first")
    chat.until_answered()
    expect(chat.answers.locator("strong")).to_have_text("first")
    expect(chat.answers.locator("code")).to_have_text("last")
    expect(chat.answers).to_have_text(f"{ECHO}first {words(60)} last")
    assert chat.answers.locator("strong").evaluate("(it) => it.closest('.content').childNodes.length") == 1
    page.reload()
    expect(chat.answers).to_have_text(f"{ECHO}first {words(60)} last")


MATHS = r"""Euler: \(e^{i\pi} + 1 = 0\), and 5 dollars.

\[
\begin{aligned} a &= \frac{1}{2} \\ b &= \sqrt{2} \end{aligned}
\]

- [x] done
- [ ] **重要：**请注意[^1]

[^1]: a note
"""


def test_formulas_tasks_and_footnotes_are_shown(page: Page, server: Server) -> None:
    server.until_rendered(MATHS)
    answer = Chat(page).open(server.create_conversation("Maths", "maths?", MATHS)).answers
    formulas = answer.locator("math")
    expect(formulas).to_have_count(2)
    for formula in formulas.all():
        expect(formula.locator("annotation")).to_be_hidden()
    # A fraction and a root are taller than a line, and lines of a formula stand below each other.
    boxes = [formula.bounding_box() for formula in formulas.all()]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[1]["height"] > 1.5 * boxes[0]["height"]
    done, to_do = answer.get_by_role("checkbox").all()
    expect(done).to_be_checked()
    expect(to_do).not_to_be_checked()
    expect(done).to_be_disabled()
    expect(to_do).to_be_disabled()
    expect(answer.locator("strong")).to_have_text("重要：")
    expect(answer.locator("sup")).to_have_text("[1]")
    expect(answer.get_by_role("listitem").last).to_have_text("a note")


def test_code_is_copied_as_it_was_written(open_context: OpenContext, server: Server) -> None:
    server.until_rendered(ANSWER)
    context = open_context(permissions=["clipboard-read", "clipboard-write"])
    chat = Chat(context.new_page()).open(server.create_conversation("Copied", "code?", ANSWER))
    chat.button("Copy code").click()
    expect(chat.page.locator("[aria-live=polite]")).to_have_text("Copied")
    assert chat.page.evaluate("navigator.clipboard.readText()") == CODE
    chat.button("Copy").last.click()
    chat.page.wait_for_function("async (text) => await navigator.clipboard.readText() === text", arg=ANSWER)


def test_answer_edited_elsewhere_is_shown_anew(page: Page, server: Server) -> None:
    server.until_rendered("*wrong*", "**right**")
    conversation_id = server.create_conversation("Corrected", "question", "*wrong*")
    chat = Chat(page).open(conversation_id)
    expect(chat.answers.locator("em")).to_have_text("wrong")
    message = server.messages(conversation_id)[1]
    server.call("PUT", f"/conversations/{conversation_id}/messages/{message['id']}", {"content": "**right**"})
    expect(chat.answers.locator("strong")).to_have_text("right", timeout=5000)
    expect(chat.answers).to_have_text("right")
    expect(chat.messages.last.get_by_text("edited", exact=True)).to_be_visible()


def test_answer_that_the_server_does_not_render_is_shown_as_text(page: Page, server: Server) -> None:
    def without_html(route: Route) -> None:
        answer = route.fetch().json()
        items = [{**item, "html": None} for item in answer["items"]]
        route.fulfill(json={**answer, "items": items})

    page.route("**/messages?*", without_html)
    chat = Chat(page).open(server.create_conversation("Plain", "question", "**as** <i>written</i>\n  here"))
    expect(chat.answers).to_be_visible()
    assert chat.answers.text_content() == "**as** <i>written</i>\n  here"


@pytest.mark.parametrize("width", [320, 1280])
def test_wide_code_and_tables_scroll_by_themselves(open_context: OpenContext, server: Server, width: int) -> None:
    server.until_rendered(WIDE)
    page = open_context(viewport={"width": width, "height": 700}).new_page()
    chat = Chat(page).open(server.create_conversation("Broad", "wide?", WIDE))
    expect(chat.answers.locator("table")).to_be_visible()
    for box in (".wide", "pre"):
        assert chat.answers.locator(box).evaluate("(it) => it.scrollWidth > it.clientWidth")
        chat.answers.locator(box).focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("(it) => it.scrollLeft > 0", arg=chat.answers.locator(box).element_handle())
    scroller = page.get_by_role("region", name="Broad")
    assert scroller.evaluate("(it) => it.scrollWidth <= it.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_only_one_module_inserts_markup() -> None:
    """Only rendered-html.js inserts the server's HTML; everything else is inserted as text."""
    from chatserver.web.page.page_files import PAGE_FOLDER

    sinks = re.compile(
        r"innerHTML|outerHTML\s*\+?=[^=]|insertAdjacentHTML|setHTML|parseHTML|createContextualFragment|document\.write|srcdoc"
        r"|\beval\b|new Function|DOMParser"
    )
    found = [path.name for path in PAGE_FOLDER.rglob("*.js") for _ in sinks.findall(path.read_text())]
    assert found == ["rendered-html.js"]
