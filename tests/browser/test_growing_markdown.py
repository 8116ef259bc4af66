"""Markdown is rendered while it streams: nothing jumps, a selection survives, and the end is as after a reload."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.browser.chat import Chat, unique
from tests.browser.conftest import Complaints, Server
from tests.browser.held import NO_TIMEOUTS, Held
from tests.kit.in_thread import InThread
from tests.kit.model_server import Call, ModelServer

pytestmark = pytest.mark.browser

PACE_SECONDS = 0.01
# A busy server is left alone for up to half a minute.
LONGEST_MILLISECONDS = 60_000

EVERYTHING = r"""# Report

Some **strong words**, *others*, `a < b` and [a page](https://example.org/path), in a paragraph
of two lines.

### Steps

1. **First** of them, with words that go on for so long that they need a second line on most screens there are
2. Second
   - inner `one`
   - inner two

     with a paragraph of its own

3. Third

- [x] done
- [ ] to do

> A quote of **one** paragraph.
>
> - and a list

```python
def f(x: int) -> str:

    return f"<b>{x}</b>"
```

#### Table

| left | right |
| :--- | ----: |
| a long cell | 1 |
| `code` | 2 |

---

| Key | Value |
|---|---|
| a\|b | c |

    indented code

~~~
no language
~~~

The end, with https://example.net/ and ~~none~~ \*stars\*.
"""

# Where each line of text of the answer is, at each frame of the screen: notes how far any of them ever moved.
RECORD = """(content) => {
  window.moved = [];
  const places = new Map();
  const look = () => {
    const top = content.getBoundingClientRect().top;
    const range = document.createRange();
    const texts = document.createTreeWalker(content, NodeFilter.SHOW_TEXT);
    let characters = 0;
    for (let node = texts.nextNode(); node; node = texts.nextNode()) {
      const seen = node.data.replace(/\\s+/g, "");
      if (!seen) continue;
      range.selectNodeContents(node);
      const [box] = range.getClientRects();
      const name = characters + seen.slice(0, 6);
      characters += seen.length;
      if (!box || seen.length < 6) continue;
      const now = [box.left, box.top - top];
      const before = places.get(name);
      if (before && Math.hypot(now[0] - before[0], now[1] - before[1]) > 2) window.moved.push([name, before, now]);
      places.set(name, now);
    }
    window.recording = requestAnimationFrame(look);
  };
  look();
}"""
# Notes changes in blocks that are final: those that a line break follows.
WATCH_FINALS = """(content) => {
  window.touched = [];
  window.finals = new Set();
  new MutationObserver((records) => {
    for (const {target, removedNodes} of records) {
      for (const block of window.finals) {
        const isInside = block === target || block.contains(target) || [...removedNodes].includes(block);
        if (isInside) window.touched.push(block.outerHTML);
      }
    }
    for (const node of content.childNodes) if (node.nodeValue === "\\n") window.finals.add(node.previousSibling);
  }).observe(content, {childList: true, subtree: true, characterData: true});
}"""
MARKUP = "(content) => content.innerHTML"


class Dictation:
    """One conversation with a model that says what the test tells it to."""

    def __init__(self, model: InThread[ModelServer], chat: Chat, server: Server) -> None:
        self._model = model
        self.chat = chat
        self.server = server
        chat.box.fill("Go on")
        chat.send.click()
        self._call: Call = model.run(model.part.call())

    @property
    def answer(self) -> Locator:
        return self.chat.answers.last

    def until_final(self, count: int) -> None:
        """Wait until so many blocks are rendered."""
        self.chat.page.wait_for_function(
            "([content, count]) => [...content.childNodes].filter((node) => node.nodeValue === '\\n').length >= count",
            arg=[self.answer.element_handle(), count],
            timeout=LONGEST_MILLISECONDS,
        )

    def say(self, *pieces: str) -> None:
        """Say these pieces, at the pace of a quick model."""

        async def say() -> None:
            for piece in pieces:
                await self._call.send(piece)
                await asyncio.sleep(PACE_SECONDS)

        self._model.run(say())

    def break_off(self) -> None:
        async def hang_up() -> None:
            self._call.hang_up()

        self._model.run(hang_up())

    def end(self) -> None:
        self._model.run(self._call.finish())

    def finish(self) -> None:
        self.end()
        self.chat.until_answered()


@pytest.fixture
def conversation_id(server: Server) -> str:
    return server.create_conversation(unique("Dictated"), agent_id=server.create_agent("Dictated", "dictated"))


@pytest.fixture
def dictation(page: Page, server: Server, dictated_model: InThread[ModelServer], conversation_id: str) -> Dictation:
    return Dictation(dictated_model, Chat(page).open(conversation_id), server)


def pieces(text: str, length: int) -> Iterator[str]:
    """A text cut at odd places: within words, marks, tables and fences."""
    return (text[begin : begin + length] for begin in range(0, len(text), length))


def becomes_as_after_a_reload(dictation: Dictation) -> None:
    """It may take some time: a renderer that has too much to do is asked again later."""
    page, server, conversation_id = dictation.chat.page, dictation.server, dictation.chat.conversation_id
    server.until_rendered(server.messages(conversation_id)[-1]["content"])
    other = Chat(page.context.new_page()).open(conversation_id)
    expect(other.answers.last).to_have_class(re.compile("rendered"))
    loaded = other.answers.last.evaluate(MARKUP)
    other.page.close()
    page.wait_for_function(
        "([content, markup]) => content.innerHTML === markup", arg=[dictation.answer.element_handle(), loaded]
    )


@pytest.mark.parametrize("length", [3, 11])
def test_streamed_markdown_does_not_move_and_ends_as_after_a_reload(
    page: Page, dictation: Dictation, length: int
) -> None:
    dictation.say("# Re")
    expect(dictation.answer.get_by_role("heading", level=2)).to_have_text("Re")
    dictation.answer.evaluate(RECORD)
    dictation.answer.evaluate(WATCH_FINALS)
    dictation.say(*pieces(EVERYTHING[4:], length))
    expect(dictation.answer).to_contain_text("The end, with")
    dictation.until_final(13)
    assert page.evaluate("window.touched") == []
    dictation.finish()
    expect(dictation.answer.locator("a").last).to_have_attribute("href", "https://example.net/")
    assert page.evaluate("window.touched") == []
    moved = page.evaluate("window.moved")
    assert moved == []
    becomes_as_after_a_reload(dictation)


def test_resumed_answer_is_rendered_and_ends_as_after_a_reload(page: Page, dictation: Dictation) -> None:
    half = EVERYTHING.index("| a long cell")
    dictation.say(EVERYTHING[:half])
    expect(dictation.answer.get_by_role("columnheader", name="left")).to_be_visible()
    page.reload()
    expect(dictation.answer.get_by_role("columnheader", name="left")).to_be_visible()
    dictation.until_final(7)
    dictation.say(*pieces(EVERYTHING[half:], 20), "\nUnderlined\n", "-----\n\n", "words[^1]\n\n", "[^1]: note\n")
    dictation.finish()
    expect(dictation.answer.locator("a").last).to_have_attribute("href", "https://example.net/")
    becomes_as_after_a_reload(dictation)


SELECT = """(content) => {
  const texts = document.createTreeWalker(content, NodeFilter.SHOW_TEXT);
  const all = [];
  while (texts.nextNode()) all.push(texts.currentNode);
  const from = all.find((node) => node.data.includes("strong"));
  const to = all.find((node) => node.data.includes("tail"));
  getSelection().setBaseAndExtent(to, to.data.indexOf("tail") + 4, from, from.data.indexOf("strong"));
}"""
SELECTED = "() => getSelection().toString()"
# Whether the selection ends before it begins, as it was made.
BACKWARD = """() => {
  const {anchorNode, focusNode} = getSelection();
  return Boolean(focusNode.compareDocumentPosition(anchorNode) & Node.DOCUMENT_POSITION_FOLLOWING);
}"""
LINKED = "Words with a **strong** part, `code` and a tail here, and [a link][1].\n\n"


def test_selection_and_focus_survive_while_blocks_are_exchanged(page: Page, dictation: Dictation) -> None:
    dictation.say(LINKED + "```\nfirst\n")
    expect(dictation.answer.locator("pre")).to_have_text("first\n")
    dictation.answer.evaluate(SELECT)
    selected = page.evaluate(SELECTED)
    assert selected == "strong part, code and a tail"
    dictation.answer.get_by_role("button", name="Copy code").focus()
    dictation.say("second\n```\n\n", "Then ", "more ", "words.\n\n", "[1]: https://example.org/\n\n", "The end")
    dictation.until_final(3)
    assert page.evaluate(SELECTED) == selected
    assert page.evaluate(BACKWARD)
    expect(dictation.answer.get_by_role("button", name="Copy code")).to_be_focused()
    dictation.finish()
    # Only the paragraph whose link came later is exchanged once more.
    expect(dictation.answer.get_by_role("link")).to_have_attribute("href", "https://example.org/")
    assert page.evaluate(SELECTED) == selected
    becomes_as_after_a_reload(dictation)


HOSTILE = """<script>window.bad = 1</script><img src="https://evil.example/a" onerror="window.bad = 1">

[words](javascript:window.bad=1) ![picture](https://evil.example/b) <https://evil.example/c> https://evil.example/d

> <iframe srcdoc="<script>parent.bad = 1</script>"></iframe>

- <svg onload="window.bad = 1"><a href="javascript:1">x</a></svg>

| <b onclick="bad()">a</b> | [a](data:text/html,x) |
| --- | --- |
| <style>*{display:none}</style> | &lt;img src=x onerror=alert(1)&gt; |

```html" onmouseover="window.bad=1
<script>window.bad = 1</script>
"""


def test_preview_of_hostile_text_makes_nothing_but_text(page: Page, dictation: Dictation) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.route("**/render", lambda route: route.fulfill(json={"blocks": None}))
    dictation.say(*pieces(HOSTILE, 5))
    expect(dictation.answer.locator("pre")).to_have_text("<script>window.bad = 1</script>\n")
    made = dictation.answer.evaluate(
        """(content) => [...content.querySelectorAll("*")].flatMap((node) => [
          node.localName, ...[...node.attributes].map(({name}) => name)])"""
    )
    allowed = (
        "p a br blockquote ul li div table thead tbody tr th td pre code span button svg path class type aria-label"
    )
    allowed += " title aria-pressed viewBox aria-hidden d tabindex"
    assert set(made) <= set(allowed.split())
    assert page.evaluate("() => window.bad") is None
    dictation.finish()
    expect(dictation.answer.locator("a").first).to_be_visible()
    assert page.evaluate("() => window.bad") is None
    assert not [url for url in asked if "evil" in url]


def test_answer_goes_on_while_the_renderer_fails_or_is_slow(
    page: Page, dictation: Dictation, complaints: Complaints
) -> None:
    def fail(route: Route) -> None:
        route.fulfill(status=503, json={"error": "No time"})

    held = Held(page, "**/render", "POST")
    dictation.say("# One\n\n", "Two **three**\n\n", "Four", " five")
    held.until(1)
    dictation.say(*pieces("\n\n".join(f"Block {number} grows" for number in range(10)), 7))
    expect(dictation.answer.locator("p").last).to_have_text("Block 9 grows")
    expect(dictation.answer.locator("strong")).to_have_text("three")
    assert len(held.urls) == 1
    page.route("**/render", fail)
    held.lose()
    dictation.say("\n\nSix\n\n", "Seven\n")
    expect(dictation.answer.locator("p").last).to_have_text("Seven")
    dictation.finish()
    expect(dictation.answer.locator("h2")).to_have_text("One")
    becomes_as_after_a_reload(dictation)
    complaints.forgive()


BESIDE = r"""async () => {
  const base = document.querySelector("script[type=module]").src.replace("main.js", "");
  const {createMessageContent} = await import(base + "message/message-content.js");
  const asked = [];
  const render = async (text, headings) => {
    asked.push([text, headings]);
    return null;
  };
  const content = createMessageContent({announce() {}, render});
  document.querySelector("#messages").append(content.element);
  content.showProgress("# One\n\nTwo\n\nThree");
  while (!content.element.textContent) await new Promise(requestAnimationFrame);
  const before = content.element.textContent;
  content.showProgress("Other");
  while (content.element.textContent === before) await new Promise(requestAnimationFrame);
  const after = [content.element.textContent, content.element.childNodes.length];
  content.showHtml("<h2>Last</h2>\n<p>words</p>");
  const last = content.element.innerHTML;
  content.showText("x".repeat(200001));
  return [before, after, last, content.element.dataset.note, content.element.textContent.length];
}"""


def test_reset_empties_what_was_rendered(page: Page) -> None:
    Chat(page).open()
    before, after, last, note, length = page.evaluate(BESIDE)
    assert before == "OneTwoThree"
    assert after == ["Other", 1]
    assert last == "<h2>Last</h2>\n<p>words</p>"
    assert (note, length) == ("Shown as plain text, because it is so long.", 200_001)


def is_rendering(request: Request) -> bool:
    return request.url.endswith("/render")


@pytest.mark.parametrize("breaks_off", [False, True], ids=["grows", "broke off"])
def test_nothing_is_rendered_for_a_conversation_that_was_left(
    page: Page, server: Server, dictation: Dictation, breaks_off: bool
) -> None:
    page.evaluate(NO_TIMEOUTS)
    held = Held(page, "**/render", "POST")
    dictation.say("# One\n\n", "Two\n\n", "Three", " four")
    held.until(1)
    if breaks_off:
        dictation.break_off()
        expect(dictation.chat.alert).to_contain_text("broke off")
    with page.expect_event("requestfailed", is_rendering):
        dictation.chat.button("New conversation").click()
    expect(page).to_have_url(re.compile("/$"))
    held.lose()
    if not breaks_off:
        dictation.end()


# Lines whose ends patterns would look at again and again: a heading, a table's second line, an address.
LONG_LINES = r"""async (count) => {
  const base = document.querySelector("script[type=module]").src.replace("main.js", "");
  const {outline} = await import(base + "message/markdown-outline.js");
  const spaces = " ".repeat(count);
  const texts = ["# a ## ", "## ##", "# a#", `# a${spaces}b`, `a|b\n|-${spaces}x`, `https://a${")".repeat(9000)}x`];
  return texts.map((text) => {
    const [{part}] = outline(text + "\n\nend", []);
    const words = part.children.map((child) => child.children?.join("") ?? child).join("");
    return [part.tag, words.replace(spaces, "…").replace(/\)+/, ")")];
  });
}"""


def test_preview_reads_a_long_line_once(page: Page) -> None:
    """Otherwise this takes minutes, which ends the tests."""
    Chat(page).open()
    assert page.evaluate(LONG_LINES, 400_000) == [
        ["h2", "a"],
        ["h2", ""],
        ["h2", "a#"],
        ["h2", "a…b"],
        ["p", "a|b|-…x"],
        ["p", "https://a)x"],
    ]


def test_printing_shows_the_conversation_and_nothing_else(page: Page, server: Server) -> None:
    answers = [f"Answer {number}\n\n```\n{'wide ' * 60}\n```\n" for number in range(12)]
    server.until_rendered(answers[0])
    turns = [turn for number, answer in enumerate(answers) for turn in (f"Question {number}", answer)]
    chat = Chat(page).open(server.create_conversation(unique("Printed"), *turns))
    expect(chat.answers).to_have_count(12)
    page.emulate_media(media="print", color_scheme="dark")
    for each in (chat.box, chat.sidebar, chat.send, chat.button("Copy").first):
        expect(each).to_be_hidden()
    height = page.evaluate("() => document.documentElement.scrollHeight")
    assert height > 12 * 100
    for each in (chat.questions.first, chat.answers.first, chat.answers.last):
        expect(each).to_be_visible()
    last = chat.answers.last.bounding_box()
    assert last is not None
    assert last["y"] + last["height"] <= height
    for code in chat.answers.locator("pre").all():
        assert code.evaluate("(it) => it.scrollWidth <= it.clientWidth")
    expect(page.locator("html")).to_have_css("color", "rgb(0, 0, 0)")
    expect(page.locator("html")).to_have_css("background-color", "rgb(255, 255, 255)")
