"""A snippet is a short piece of a text with its hits marked."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.services.snippets import SNIPPET_CHARS, make_snippet
from chatserver.storage.search.terms import parse_terms
from chatserver.storage.search.words import INDEXED_CHARS


def marked(text: str, query: str) -> str:
    """The snippet with its hits in square brackets."""
    parts = make_snippet(text, parse_terms(query).wanted)
    return "".join(f"[{part.text}]" if part.hit else part.text for part in parts)


@pytest.mark.parametrize(
    ("text", "query", "snippet"),
    [
        ("the red fox", "fox", "the red [fox]"),
        ("The RED fox", "red", "The [RED] fox"),
        ("the foxes of foxland", "fox", "the [foxes] of [foxland]"),
        ("the foxes of foxland", '"fox"', "the foxes of foxland"),
        ("a red fox, a red den", '"red fox"', "a [red fox], a red den"),
        ("a red,\n  fox", '"red fox"', "a [red, fox]"),
        ("prefix fix", '"fix"', "prefix [fix]"),
        ("x_fix-fix.fix", '"fix"', "x_[fix]-[fix].[fix]"),
        ("red fox", '"fox" "red"', "[red] [fox]"),
        ("これは、猫です。", "猫です", "これは、[猫です]。"),
        ("un cafe\u0301 noir", "café", "un [café] noir"),
        ("<b>fox</b> & [fox]", "fox", "<b>[fox]</b> & [[fox]]"),
        ("line\n\n\tbreaks  and fox", "fox", "line breaks and [fox]"),
        ("nothing of it", "fox", "nothing of it"),
        ("", "fox", ""),
    ],
)
def test_hits_are_marked(text: str, query: str, snippet: str) -> None:
    assert marked(text, query) == snippet


def test_long_text_is_cut_at_words_around_the_first_hit() -> None:
    snippet = marked("before " * 100 + "fox" + " after" * 100, "fox")
    assert snippet.startswith("…before")
    assert snippet.endswith("after…")
    assert "before [fox] after" in snippet
    assert len(snippet) <= SNIPPET_CHARS + len("……[]")


def test_text_without_hits_is_cut_at_its_end() -> None:
    snippet = marked("word " * 100, "fox")
    assert snippet.startswith("word word")
    assert snippet.endswith("word…")


def test_snippet_is_the_piece_with_most_phrases() -> None:
    filler = " and so on" * 30
    text = "red" + filler + " red red red" + filler + " red fox" + filler
    assert "[red] [fox]" in marked(text, '"red" "fox"')
    assert "[red] [red] [red]" in marked(text, '"red"')


def test_text_without_blanks_is_cut_anywhere() -> None:
    snippet = marked("語" * 500 + "猫" + "語" * 500, "猫")
    assert "[猫]" in snippet
    assert len(snippet) <= SNIPPET_CHARS + len("……[]")


def test_too_long_hit_is_cut() -> None:
    snippet = marked("red " + "-" * 1000 + " fox", '"red fox"')
    assert snippet.startswith("[red ---")
    assert len(snippet) <= SNIPPET_CHARS + len("…[]")


def test_text_past_the_indexed_part_is_not_shown() -> None:
    assert "fox" not in marked("word " * (INDEXED_CHARS // 5) + "fox", "fox")


QUERIES = st.sampled_from(['"red" fo', "red", '"red fox" den', "猫 red"])


@given(
    st.lists(st.sampled_from(["red", "fox", "den", "猫", "-", "\n", "word" * 30]), max_size=100).map(" ".join), QUERIES
)
def test_parts_are_pieces_of_the_text(text: str, query: str) -> None:
    parts = make_snippet(text, parse_terms(query).wanted)
    shown = "".join(part.text for part in parts)
    assert shown.strip("…") in " ".join(text.split())
    assert len(shown) <= SNIPPET_CHARS + 2
    assert all(part.text for part in parts)
    assert all(first.hit or second.hit for first, second in pairwise(parts))
