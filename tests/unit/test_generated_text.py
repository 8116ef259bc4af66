"""However a model's text is cut, the cleaned text is the same, and fit for UTF-8 and PostgreSQL."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatserver.live.generation import REPLACEMENT, TextCleaner

# UTF-16 code units, as a JSON encoder that knows nothing of pairs writes them: halves of both kinds, NUL, a byte order
# mark, and whole characters of every width.
units = st.sampled_from(
    ["\ud83d", "\ud800", "\udbff", "\ude00", "\udc00", "\udfff", "\0", "\ufeff", "a", "é", "語", "😀"]
)
deltas = st.lists(st.lists(units, max_size=4).map("".join), max_size=10)


def clean(pieces: list[str]) -> list[str]:
    cleaner = TextCleaner()
    return [*map(cleaner.clean, pieces), cleaner.rest()]


def by_the_rules(text: str) -> str:
    """Clean a text unit by unit: a pair is a character, any other half is replaced, NUL is left out."""
    cleaned = ""
    at = 0
    while at < len(text):
        unit, following = text[at], text[at + 1 : at + 2]
        at += 1
        if "\ud800" <= unit <= "\udbff" and "\udc00" <= following <= "\udfff":
            cleaned += chr(0x10000 + ((ord(unit) - 0xD800) << 10) + ord(following) - 0xDC00)
            at += 1
        elif "\ud800" <= unit <= "\udfff":
            cleaned += REPLACEMENT
        elif unit != "\0":
            cleaned += unit
    return cleaned


@given(deltas)
@example(["\ud83d", "\ude00"])
@example(["\ud83d", "", "\ude00"])
@example(["\ud83d", "\ud83d\ude00"])
@example(["\ud83d", "\0", "\ude00"])
@example(["\ud83d\0", "\ude00"])
@example(["\ud83d", "\ud83d"])
@example(["\ud83d", "a"])
@example(["\ud83d"])
@example(["\ufeff", "\ufeff\ud800"])
def test_surrogate_pair_is_joined_however_it_is_cut(pieces: list[str]) -> None:
    assert "".join(clean(pieces)) == by_the_rules("".join(pieces)) == TextCleaner.clean_whole("".join(pieces))


@given(st.text(st.characters(), max_size=50), st.lists(st.integers(0, 50), max_size=5))
def test_cleaned_text_is_the_same_however_it_is_cut(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(text)]
    pieces = [text[begin:end] for begin, end in pairwise(edges)]
    assert "".join(clean(pieces)) == by_the_rules(text)


@given(deltas)
def test_cleaned_piece_can_be_sent_and_stored(pieces: list[str]) -> None:
    for piece in clean(pieces):
        assert piece.encode().decode() == piece
        assert "\0" not in piece


@given(deltas)
def test_cleaner_holds_back_only_half_a_pair(pieces: list[str]) -> None:
    cleaner = TextCleaner()
    given_so_far = ""
    cleaned = ""
    for piece in pieces:
        given_so_far += piece
        cleaned += cleaner.clean(piece)
        waiting = "\ud800" <= given_so_far[-1:] <= "\udbff"
        assert cleaned == by_the_rules(given_so_far[:-1] if waiting else given_so_far)
    assert cleaner.rest() in ("", REPLACEMENT)
    assert cleaner.rest() == ""


@pytest.mark.parametrize("text", ["", "plain", "häß", "語😀", "\r\n\u2028\x85\x7f"])
def test_sound_text_is_left_unchanged(text: str) -> None:
    assert clean([text]) == [text, ""]
    assert TextCleaner.clean_whole(text) == text
