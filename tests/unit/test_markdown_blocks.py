"""The blocks of a text are its HTML in pieces, cover all of it, and stay as they are while the text grows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatserver.rendering import formulas
from chatserver.rendering.markdown import render, render_blocks_or_tell

PIECES = [
    "# Title\n", "## Part\n\n", "#### Deep\n", "Set\n===\n", "- a\n", "- b\n  more\n", "  - c\n", "1. one\n",
    "2. two\n\n", "> quote\n", "```py\n", "x = 1\n", "```\n", "~~~\n", "| a | b |\n| - | :-: |\n| c | d |\n",
    "words **strong** `code`\n", "*em", "\n", "\n\n", "    indented\n", "---\n", "$$\n", "\\[\nx^2\n\\]\n",
    "\\(a_1\\)", "[^1]", "[^1]: note\n", "    more of it\n", "[label]", "[label]: https://example.org/a\n",
    "[x](https://example.org)", "<b>", "\r\n", "\r", "😀", "\t", "- [ ] to do\n", "text", " ",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(
    st.sampled_from("a #*_`~|->[]()^:$\\\n\r\t1.😀"), max_size=80
)
# What later text may change by intent: links by reference and footnotes, wherever they are mentioned.
LATER = re.compile(r"\]")


def blocks(text: str, headings: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(render_blocks_or_tell(text, headings)[0])
    return found


def units(text: str) -> bytes:
    """The text as code units of JavaScript, two bytes each."""
    return text.encode("utf-16-le")


@given(TEXTS)
@example("")
@example("\n\n  a\n\n\n")
@example("a\r\n\r\nb\rc\r\r# d")
@example("[^1]: note\n\n[u]: https://example.org\n\n[^2]: # h\n\nb[^2]")
@example("😀\n\n😀")
@example(">" * 300 + "a\n\nb")
def test_blocks_joined_are_the_html_and_cover_the_text(text: str) -> None:
    found = blocks(text)
    assert "".join(block["html"] for block in found) == render(text)
    assert sum(block["chars"] for block in found) == (len(units(text)) // 2 if found else 0)
    assert bool(found) == bool(render(text))


@given(TEXTS, TEXTS)
@example("# a\n\n### b\n\n", "## c\n\n##### d\n")
@example("1. a\n\n", "2. b\n")
@example("$$\na\n\n", "b\n$$\n")
@example("para\n\n\\[\n\na\n", "\n\\]\n")
@example("| a |\n| - |\n", "| b |\n\nc")
@example("\\[\nx\n=\ny\n", "\\]\n")
@example("Text:\n$$\na\n-\nb\n", "$$\n")
@example("> q\ntext\n$$\na\n\nb\n", "$$\n")
@example("- item\n$$\na\n\nb\n", "$$\n")
@example("| a |\n| - |\n$$\na^2\n\nb\n", "$$\n")
def test_blocks_but_the_last_stay_while_the_text_grows(begun: str, more: str) -> None:
    """The text is cut where lines end: half a line may still become another block."""
    begun = begun.replace("\r", "\n").rstrip("\n") + "\n"
    more = more.replace("\r", "\n")
    whole = begun + more
    if LATER.search(whole.replace("\\]", "").replace("[ ]", "")):
        return
    final = blocks(begun)[:-1]
    rest = units(whole)[2 * sum(block["chars"] for block in final) :].decode("utf-16-le")
    above = tuple(final[-1]["headings"]) if final else ()
    shown = [block["html"] for block in final + blocks(rest, above)]
    assert "".join(shown).rstrip("\n") == render(whole)


def test_headings_continue_those_above() -> None:
    text = "# a\n\n## b\n\nc\n\n## d\n\n#### e\n"
    assert [block["headings"] for block in blocks(text)] == [[1], [1, 2], [1, 2], [1, 2], [1, 2, 4]]
    assert blocks("#### e\n", (1, 2))[0] == {"html": "<h4>e</h4>", "chars": 7, "headings": [1, 2, 4]}
    assert blocks("x", (2, 3)) == [{"html": "<p>x</p>", "chars": 1, "headings": [2, 3]}]


def test_formula_that_is_open_belongs_to_the_last_block() -> None:
    assert [block["chars"] for block in blocks("a\n\n$$\nb\n\nc\n")] == [3, 8]
    far = "c\n" * formulas.MAX_OPEN_CHARS
    assert [block["chars"] for block in blocks(f"$$\nb\n\n{far}")] == [6, len(far)]
    assert [block["chars"] for block in blocks("$$ and $$ x\n\nc\n")] == [13, 2]


def test_blocks_with_formulas_that_ended_are_final() -> None:
    for block in ("- a\n\n  $$\n  x^2\n  $$\n\n", "> q\n\n", "```\n$$\n```\n\n", "$$\na\n$$\n\n"):
        assert [each["chars"] for each in blocks(f"{block}b\n")] == [len(block), 2]


def test_text_that_is_shown_as_it_was_written_is_one_block() -> None:
    text = ">" * 300 + "a\n\nb😀"
    result, problem = render_blocks_or_tell(text, (1,))
    assert json.loads(result) == [{"html": render(text), "chars": len(text) + 1, "headings": [1]}]
    assert problem == "shown as it was written: nested too deeply"


@pytest.mark.parametrize("text", ["", " \n\t\n"])
def test_blank_text_has_no_blocks(text: str) -> None:
    assert blocks(text, (1,)) == []
