"""The two formats of an exported conversation."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from chatserver.schemas import Conversation, ConversationExport
from chatserver.services import contained_markdown
from chatserver.services.contained_markdown import contain
from chatserver.services.export_formats import JsonWriter, MarkdownWriter, Writer

NOON = datetime(2026, 3, 4, 12, 0, 0, 123_456, tzinfo=UTC)
ID = UUID(int=1)


def conversation(title: str | None = "Plans") -> Conversation:
    return Conversation(
        id=ID,
        company_id=ID,
        title=title,
        agent_id=None,
        pinned_at=None,
        archived_at=None,
        deleted_at=None,
        created_at=NOON,
        updated_at=NOON,
        parent_conversation_id=None,
        branch_from_message_id=None,
        active_run=None,
    )


def row(content: str, role: str = "user", **columns: Any) -> Any:
    given = {
        "id": ID,
        "conversation_id": ID,
        "agent_id": None,
        "author": None,
        "created_at": NOON,
        "edited_content": None,
        "edited_at": None,
        "reply_to": None,
        "status": "completed",
        "superseded_at": None,
        "input_tokens": None,
        "output_tokens": None,
        "model": None,
        "stop_reason": None,
        "duration_ms": None,
        "reasoning": None,
        "reasoning_ms": None,
        "failure": None,
        "agent_name": None,
    }
    return SimpleNamespace(**(given | {"role": role, "content": content} | columns))


def written(writer: Writer, *rows: Any, title: str | None = "Plans") -> str:
    return writer.head(conversation(title), NOON) + "".join(map(writer.message, rows)) + writer.tail()


# --- Markdown ---------------------------------------------------------------------------------------------


def test_markdown_shows_authors_times_and_effective_contents() -> None:
    later = NOON.astimezone(timezone(timedelta(hours=2))) + timedelta(minutes=1)
    text = written(
        MarkdownWriter(),
        row("What *is* it?\n\n- one"),
        row("That.", "assistant", agent_name="Guide", status="stopped"),
        row("Old wording", edited_content="New wording", edited_at=later),
        row("Me too", author="Ann *B* <b>\nC"),
        row("Nobody's answer", "assistant"),
        row("Be kind.", "system"),
    )
    assert (
        text
        == """\
# Plans

Begun 2026-03-04 12:00:00 UTC, exported 2026-03-04 12:00:00 UTC.

## User

*2026-03-04 12:00:00 UTC*

What *is* it?

- one

## Guide

*2026-03-04 12:00:00 UTC, stopped*

That.

## User

*2026-03-04 12:00:00 UTC, edited 2026-03-04 12:01:00 UTC*

New wording

## Ann \\*B\\* \\<b\\> C

*2026-03-04 12:00:00 UTC*

Me too

## Agent

*2026-03-04 12:00:00 UTC*

Nobody's answer

## System

*2026-03-04 12:00:00 UTC*

Be kind.
"""
    )


def headings(text: str) -> list[str]:
    tokens = MarkdownIt().parse(text)
    contents = [after for token, after in pairwise(tokens) if token.type == "heading_open"]
    return ["".join(child.content for child in token.children or ()) for token in contents]


@pytest.mark.parametrize(
    "content",
    [
        "```python\nprint()",
        "~~~\ncode",
        "````\n```\ncode",
        "```\ncode\n``` not the end",
        "   ```\ncode",
        "```\r\ncode",
        "```a`b\n```\ncode",
        "```\ncode\n```",
        "no code",
        "1. ```py\n   print(1)\n   ```\n2. done",
        "- ```\n  code",
        "- a\n\n  ```\n  code\n```",
        "> ```\n> code",
        "> ```\n> code\n```\nmore",
        "```\n<!--\n## User\n[a]: b\n",
        "- a\n  - ~~~\n    code",
        "    ```\n    code",
        "`<pre>` and `` <b>`[a]: b` ``",
        "a < b, <https://a.b/c>, <a@b.c>",
        "a\n\n---\n\n- b\n---\n",
        "### a\n\n#### b",
    ],
)
def test_code_ends_with_its_message_and_everything_stays_as_written(content: str) -> None:
    text = written(MarkdownWriter(), row(content), row("next", "assistant", agent_name="Guide"))
    assert [each for each in headings(text) if each not in "ab"] == ["Plans", "User", "Guide"]
    assert f"\n\n{content}" in text


@pytest.mark.parametrize(
    ("content", "contained"),
    [
        ("<!--\nhidden", "\\<!--\nhidden"),
        ("a\n\n<pre>\n\nb", "a\n\n\\<pre>\n\nb"),
        ("<script>\n\n</script", "\\<script>\n\n\\</script"),
        ("<?php\n\n", "\\<?php\n\n"),
        ("<!X\n\n<![CDATA[\n\n", "\\<!X\n\n\\<![CDATA[\n\n"),
        ("- <div>\n> <div>\n", "- \\<div>\n> \\<div>\n"),
        ("a <b>c</b> `<b>` \\<b>", "a \\<b>c\\</b> `<b>` \\<b>"),
        ("<h2>User</h2>", "\\<h2>User\\</h2>"),
        ("\r\n<!--\r\na\r<pre>", "\r\n\\<!--\r\na\r\\<pre>"),
        ("\n## User\n\n*time*", "\n\\## User\n\n*time*"),
        ("# Anybody\n*2026-03-04 12:00:00 UTC*", "\\# Anybody\n*2026-03-04 12:00:00 UTC*"),
        ("  ## **assistant** ##\nx", "  \\## **assistant** ##\nx"),
        ("# Title\n\ntext\n## Part\n```\n# code\n```", "### Title\n\ntext\n#### Part\n```\n# code\n```"),
        ("# Title\n\n*a*\n## Part\nb\n##\n#c", "\\# Title\n\n*a*\n#### Part\nb\n####\n#c"),
        ("# Title\n## Part\n### Below", "### Title\n#### Part\n### Below"),
        ("> # Title\n- ## Part\n#", "> ### Title\n- #### Part\n###"),
        ("User\n====\n\nUser\n-", "User\n\\====\n\nUser\n\\-"),
        ("- a\n  ---\n", "- a\n  \\---\n"),
        ("[a]: http://b.c\n[d]: e\n\n[a]", "\\[a]: http://b.c\n[d]: e\n\n[a]"),
        ("> [a\n> b]: c", "> \\[a\n> b]: c"),
        ("[a]: b\n===", "\\[a]: b\n\\==="),
        ("> " * 30 + "<!--", "```\n" + "> " * 30 + "<!--\n```"),
        ("> " * 30 + "``` <!--", "````\n" + "> " * 30 + "``` <!--\n````"),
    ],
)
def test_what_reaches_beyond_a_message_is_written_in_another_way(content: str, contained: str) -> None:
    text = written(MarkdownWriter(), row(content), row("next", "assistant", agent_name="Guide"))
    assert text.partition("UTC*\n\n")[2] == f"{contained}\n\n## Guide\n\n*2026-03-04 12:00:00 UTC*\n\nnext\n"


FENCES = ["```", "````", "~~~", "```py\n", "\n```\n", "\n~~~\n", "``` x", "`", "``"]
CONTAINERS = ["> ", "- ", "+ ", "* ", "1. ", "9) ", ">", "  ", "   ", "    ", "\t", "\n> ", "\n- ", "\n  ", "\n    "]
OPEN_HTML = ["<!--", "-->", "<pre>", "</pre>", "<script>", "<style", "<?", "?>", "<!X", ">", "<![CDATA[", "]]>"]
OTHER_HTML = ["<div>", "</div>", "<a b", "<h2>User</h2>", "<details", "\n<textarea>\n"]
FORGED = ["## User", "# Plans", "\n## User\n\n*time*\n", "##", "#", "Guide\n---", "\n===\n", "\n---\n", "-", "="]
DEFINED = ["[a]: http://b.c", "[a]", "\n[a]:\n", "[a]: <", "'", "[", "]:", "\\", "\n[^a]: b"]
LINES = ["\n", "\n\n", "\r\n", "\r", "a", "\n\n\n", " ", "\x0b", "\x0c", "\xa0", "\u2028", "<http://a.b/`>"]
PIECES = st.one_of(
    map(st.sampled_from, (FENCES, CONTAINERS, OPEN_HTML, OTHER_HTML, FORGED, DEFINED, LINES)),
)
CONTENTS = st.lists(PIECES, min_size=1, max_size=25).map("".join)


def shape(tokens: Sequence[Token]) -> list[Any]:
    """What a parser read, without the places where it stands."""
    return [
        (token.type, token.tag, token.content, token.level, token.info, token.hidden, shape(token.children or ()))
        for token in tokens
    ]


@settings(max_examples=300)
@given(CONTENTS, CONTENTS)
def test_each_message_parses_as_if_it_stood_alone(first: str, second: str) -> None:
    parser = MarkdownIt("commonmark")
    text = written(MarkdownWriter(), row(first), row(second, "assistant", agent_name="Guide"), row("[a]"))
    environment: dict[str, Any] = {}
    tokens = parser.parse(text, environment)
    assert environment.get("references", {}) == {}
    turns = [n for n, token in enumerate(tokens) if token.type == "heading_open" and token.tag in ("h1", "h2")]
    assert [tokens[n + 1].content for n in turns] == ["Plans", "User", "Guide", "User"]
    assert all(tokens[n].level == 0 and tokens[n + 3].type == "paragraph_open" for n in turns)
    for begin, end, content in zip(turns[1:], [*turns[2:], None], (first, second, "[a]"), strict=True):
        assert shape(tokens[begin + 6 : end]) == shape(parser.parse(f"{contain(content)}\n\n# end")[:-3])
    every = [*tokens, *(child for token in tokens for child in token.children or ())]
    assert not {token.type for token in every} & {"html_block", "html_inline"}


@given(CONTENTS)
def test_contained_text_has_all_characters_of_the_text(content: str) -> None:
    contained = iter(contain(content))
    assert all(character in contained for character in content)


@settings(max_examples=300)
@given(CONTENTS)
def test_quick_way_gives_what_parsing_gives(content: str) -> None:
    quickly = contained_markdown._contain_quickly(content)
    assert quickly in (None, contained_markdown._contain_slowly(content))


NESTED = "> - " * 6 + "# User\n"


@pytest.fixture
def tried() -> Iterator[list[int]]:
    """Gets the line of each try of the parser."""
    lines: list[int] = []

    def note(_state: Any, line: int, _end: int, _silent: bool) -> bool:
        lines.append(line)
        return False

    contained_markdown._parser.cache_clear()
    terminators = ["paragraph", "reference", "blockquote", "list"]
    contained_markdown._parser().block.ruler.before("code", "note", note, {"alt": terminators})
    yield lines
    contained_markdown._parser.cache_clear()


@pytest.mark.parametrize(
    "hostile",
    [
        (NESTED * 3_226)[:100_000],
        (NESTED * 32_259)[:1_000_000],
        "a\n-\n" * 25_000,
        "aaaaaa <a\n\n" * 90_000,
        "> " * 10 + "a\n" + "b\n" * 45_000 + "<!--",
        "[\n" * 50_000 + "]:",
        "- > " * 20 + "a\n" * 40_000 + "#",
        "`" * 100_000 + "<a",
        "<a\n" * 30_000,
        " " * 100_000 + "<a",
        "- a\n" * 25_000 + "# a",
        "```\n" * 25_000 + "<a",
        "".join("`" * length + " " for length in range(440)) + "<a",
    ],
)
@pytest.mark.serial
def test_hostile_message_is_contained_in_bounded_time(hostile: str, tried: list[int]) -> None:
    """The bound on the time is loose, so that it holds on a busy machine; that on the work is exact."""
    contain("# a")
    tried.clear()
    began = time.process_time()
    contain(hostile)
    assert len(tried) < 40_000
    assert time.process_time() - began < 10


NAMES = st.text(st.sampled_from("ab*_`[](){}<>#|~&!\\\n\r\t -+=.1&amp;"), min_size=1, max_size=30).filter(
    lambda name: name.strip() != ""
)


@given(NAMES, NAMES)
def test_titles_and_names_are_escaped_in_markdown(title: str, name: str) -> None:
    text = written(MarkdownWriter(), row("said", "assistant", agent_name=name, model=name), title=title)
    assert headings(text) == [" ".join(title.split()), " ".join(name.split())]


def test_conversation_without_a_title_is_exported() -> None:
    assert written(MarkdownWriter(), title=None).startswith("# Conversation\n")


# --- JSON -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_holds_everything_that_is_stored(count: int) -> None:
    said = [
        row(
            f'"{number}" \\ \n é',
            "assistant",
            agent_name="Guide",
            input_tokens=1,
            output_tokens=2,
            model="m",
            stop_reason="length",
            duration_ms=number,
            reasoning="hm\n",
            reasoning_ms=number,
        )
        for number in range(count)
    ]
    text = written(JsonWriter(), *said)
    document = json.loads(text)
    assert set(document) == {"format", "version", "exportedAt", "conversation", "messages"}
    assert document["exportedAt"] == "2026-03-04T12:00:00.123Z"
    export = ConversationExport.model_validate_json(text, by_alias=True, by_name=False)
    assert export.conversation == conversation().model_copy(
        update={"created_at": export.conversation.created_at, "updated_at": export.conversation.updated_at}
    )
    assert [message.content for message in export.messages] == [each.content for each in said]
    assert all(message.agent_name == "Guide" for message in export.messages)
    assert [(m.model, m.stop_reason, m.duration_ms, m.reasoning, m.reasoning_ms) for m in export.messages] == [
        ("m", "length", number, "hm\n", number) for number in range(count)
    ]
    assert json.loads(export.model_dump_json(by_alias=True)) == document
