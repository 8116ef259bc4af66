"""Thinking in tags and pictures in the text, however the text is cut."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.answer_text import AnswerText
from chatserver.providers.base import Delta, ReasoningDelta, TextDelta
from chatserver.providers.pictures import PictureFilter
from tests.kit.model_answers import PICTURES, THOUGHTS

TEXTS = {**THOUGHTS, **{name: (text, "", right) for name, (text, right) in PICTURES.items()}}


def read(pieces: list[str], *, released: bool = False) -> tuple[str, str]:
    """The thinking and the answer. `released`: no piece comes soon after another."""
    reader = AnswerText()
    deltas: list[Delta] = []
    for piece in filter(None, pieces):
        reader.feed(TextDelta(piece), deltas)
        if released and reader.holds_briefly:
            deltas += reader.release()
            assert not reader.holds_briefly
    deltas += reader.rest()
    assert all(isinstance(delta, TextDelta | ReasoningDelta) and delta.text for delta in deltas)
    return (
        "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta)),
        "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)),
    )


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


@given(st.sampled_from(sorted(TEXTS)), st.lists(st.integers(min_value=0), max_size=6))
def test_text_cut_anywhere_becomes_the_same(name: str, places: list[int]) -> None:
    text, thinking, right = TEXTS[name]
    assert read(cut(text, places)) == (thinking, right)


HOSTILE = st.lists(
    st.sampled_from(
        [
            "![",
            "](",
            ")",
            "data:",
            "image/png",
            ";base64,",
            "QUJD",
            "<img ",
            "src=",
            '"',
            ">",
            "<",
            "d",
            "!",
            " ",
            "\n",
            "é",
            "%3C",
            ",",
        ]
    )
).map("".join)


@given(HOSTILE, st.lists(st.integers(min_value=0), max_size=8))
def test_hostile_text_cut_anywhere_loses_nothing_but_pictures(text: str, places: list[int]) -> None:
    _, whole = read([text])
    if ";base64," not in text and ",%" not in text:
        assert whole == text
    _, answer = read(cut(text, places), released=True)
    assert "image/png;base64,QUJD" not in answer or "data:image/png;base64,QUJD" not in text


@given(st.text(max_size=60), st.lists(st.integers(min_value=0), max_size=8), st.booleans())
def test_text_without_tags_and_pictures_is_unchanged(text: str, places: list[int], released: bool) -> None:
    if not text.lstrip().lower().startswith("<think"):
        assert read(cut(text, places), released=released) == ("", text)


def test_text_that_ends_like_a_picture_within_a_word_is_not_held_back() -> None:
    reader = AnswerText()
    for word in ("Hello", " world", "!", " held", " and", " that", "!", " :", " data-driven"):
        deltas: list[Delta] = []
        reader.feed(TextDelta(word), deltas)
        assert deltas == [TextDelta(word)]


@pytest.mark.parametrize(
    "unit", ["![", "![a](", "<img ", "data:image/", "data:image/png;a", "<img src='data:", "!", "d "]
)
@pytest.mark.parametrize("size", [1, 1_000])
def test_hostile_text_of_20_000_characters_takes_less_than_3_seconds(unit: str, size: int) -> None:
    text = unit * (20_000 // len(unit))
    reader = PictureFilter()
    begun = time.process_time()
    kept = "".join(reader.feed(text[at : at + size]) for at in range(0, len(text), size)) + reader.rest()
    assert time.process_time() - begun < 3
    assert kept == text


def test_data_of_a_picture_is_not_held() -> None:
    reader = PictureFilter()
    assert reader.feed("![it](data:image/png;base64,") == "[image]"
    for _ in range(100):
        assert reader.feed("QUJD" * 10_000) == ""
        assert not reader.holds_briefly
    assert reader.feed(") done") == " done"


@pytest.mark.parametrize("unit", ["<", "</", "</think", " <"])
def test_thinking_of_4_million_characters_takes_less_than_a_second(unit: str) -> None:
    text = unit * (4_000_000 // len(unit))
    begun = time.process_time()
    thinking, answer = read(["<think>a" + text, "</THINK>b"])
    assert time.process_time() - begun < 1
    assert (thinking, answer) == ("a" + text, "b")
