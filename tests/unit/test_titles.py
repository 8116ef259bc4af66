"""The title that a first message gives: what a reader sees of its first line, cut between characters."""

from __future__ import annotations

import sys
import time

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from chatserver.storage.titles import AUTOMATIC_TITLE_CHARS, first_line

FAMILY = "👨\u200d👩\u200d👧\u200d👦"
FLAG = "🇩🇪"


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("hello", "hello"),
        ("\n \t\n  first  line \r\nsecond", "first  line"),
        ("一行目\n二行目", "一行目"),
        (" \n\t", None),
        ("", None),
    ],
)
def test_title_is_the_first_line_that_is_not_blank(content: str, title: str | None) -> None:
    assert first_line(content) == title


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("\u200b\nsecond", "second"),
        ("\ufeff\u2060\u00ad\n\u200d\u200c\u200e\u202a\n\u3164\u115f\n\ufe0f\n\u2800\nlast", "last"),
        ("\x01\x1b\nlast", "last"),
        ("\u200b \u3000\u200b", None),
        ("\ufeffhello\u200b ", "hello"),
        ("\u200b \u200bhello", "hello"),
        ("Do\u00adnaudampf", "Do\u00adnaudampf"),
        ("\u0640", "\u0640"),  # a tatweel is drawn
        ("❤\ufe0f", "❤\ufe0f"),
    ],
)
def test_line_in_which_nothing_is_seen_gives_no_title(content: str, title: str | None) -> None:
    assert first_line(content) == title


def test_blank_beginning_of_100_000_characters_is_skipped_within_a_tenth_of_a_second() -> None:
    """It takes about two milliseconds. If each kind of blank were stripped in turn, it would take half a second."""
    began = time.thread_time()
    assert first_line(" \u200b" * 49_000 + "x" + "\u3000\ufeff" * 900) == "x"
    assert time.thread_time() - began < 0.1


def test_all_white_space_is_stripped() -> None:
    blanks = "".join(each for each in map(chr, range(sys.maxunicode + 1)) if each.isspace())
    assert first_line("x" + "".join(blanks.split("\n")[0])) == "x"
    for blank in blanks:
        assert first_line(f"{blank}\u200b{blank}x{blank}\u200b{blank}") == "x"


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 60),
        ("y" * 58 + "   z", "y" * 58),
        ("x" * 57 + FAMILY, "x" * 57),
        ("x" * 53 + FAMILY + "y", "x" * 53 + FAMILY),
        ("x" * 59 + FLAG, "x" * 59),
        ("x" * 58 + FLAG + FLAG, "x" * 58 + FLAG),
        ("x" * 59 + "e\u0301", "x" * 59),
        ("x" * 58 + "e\u0301 y", "x" * 58 + "e\u0301"),
        ("x" * 59 + "👍🏽", "x" * 59),
        ("x" * 59 + "❤\ufe0f", "x" * 59),
        ("x" * 59 + "क्षि", "x" * 59),
        ("x" * 59 + "\u1112\u1161\u11ab", "x" * 59),
        ("x" * 59 + "1\ufe0f\u20e3", "x" * 59),
        ("a" + "\u0301" * 100, "a" + "\u0301" * 59),  # one character that is longer than any title
    ],
)
def test_title_is_cut_between_characters(content: str, title: str) -> None:
    assert first_line(content) == title


@given(st.lists(st.sampled_from(["x", FAMILY, FLAG, "e\u0301", "👍🏽", "क्षि", "한", " "]), min_size=1).map("".join))
def test_title_is_the_beginning_of_the_line_in_whole_characters(content: str) -> None:
    title = first_line(content)
    if title is None:
        assert not content.strip()
        return
    assert len(title) <= AUTOMATIC_TITLE_CHARS
    line = regex.findall(r"\X", content.strip())
    assert "".join(line).startswith(title)
    assert regex.findall(r"\X", title) == line[: len(regex.findall(r"\X", title))]
