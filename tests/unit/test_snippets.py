"""A snippet is a short piece of a text with its hits marked."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.services.snippets import OVERLAP_CHARS, SNIPPET_CHARS, WINDOW_CHARS, make_snippet
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
        ("im Do\u00adnau\u00addampf und Wind", "donaudampf", "im [Do\u00adnau\u00addampf] und Wind"),
        ("ein Hand\u200bbuch!", "HANDBUCH", "ein [Hand\u200bbuch]!"),
        ("ὁ ΟΔΥΣΣΕΥΣ ἦν", "οδυσσευς ἦν", "ὁ [ΟΔΥΣΣΕΥΣ] [ἦν]"),
        ("قال الســـلام عليكم", '"السلام"', "قال [الســـلام] عليكم"),
        ("die ＡＰＩ ist", '"api"', "die [ＡＰＩ] ist"),
        ("an oﬃce, a straße", "office strasse", "an [oﬃce], a [straße]"),
        ("これはﾃｽﾄです", "テスト", "これは[ﾃｽﾄ]です"),
        ("ﾊﾟﾝを食べる", "パン", "[ﾊﾟﾝ]を食べる"),
        ("½ cup, 1½ cups", '"1"', "[½] cup, 1½ cups"),
        ("a 👨\u200d👩\u200d👧\u200d👦 b", "👩", "a [👨\u200d👩\u200d👧\u200d👦] b"),
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


def test_first_window_with_a_hit_is_shown() -> None:
    """Later hits are not looked for: a search may find a hundred texts of 100,000 characters."""
    text = "word " * 1_000 + "fox " + "word " * 10_000 + '"red fox"'
    assert "word [fox] word" in marked(text, '"red" "fox"')


@pytest.mark.parametrize("place", range(WINDOW_CHARS - 40, WINDOW_CHARS + OVERLAP_CHARS + 40, 7))
def test_hit_at_the_border_of_a_window_is_shown(place: int) -> None:
    text = ("word " * 1_000)[:place] + " a red-fox den " + "word " * 1_000
    assert "a [red-fox] den" in marked(text, '"red fox"')


@pytest.mark.parametrize("between", [" " * 600, "-" * 600, " " * 3 * WINDOW_CHARS, "\n- " * 300])
@pytest.mark.parametrize("place", range(WINDOW_CHARS - 700, WINDOW_CHARS + OVERLAP_CHARS + 40, 83))
def test_phrase_with_much_between_its_words_is_a_hit_at_the_border_of_a_window(place: int, between: str) -> None:
    text = ("word " * 1_000)[:place] + f" an alpha{between}beta den " + "word " * 1_000
    assert "an [alpha" in marked(text, '"alpha beta"')
    assert "an [alpha" in marked(text, "alpha beta") or "[beta]" in marked(text, "alpha beta")


@pytest.mark.parametrize("place", range(WINDOW_CHARS - 1_000, WINDOW_CHARS + OVERLAP_CHARS, 211))
def test_phrase_longer_than_windows_share_is_a_hit_at_the_border_of_a_window(place: int) -> None:
    phrase = " ".join(f"number{number}" for number in range(80))
    text = ("word " * 1_000)[:place] + f" a {phrase} den " + "word " * 1_000
    assert "a [number0" in marked(text, f'"{phrase}"')


@pytest.mark.parametrize(
    "place", range(WINDOW_CHARS + OVERLAP_CHARS - 20, WINDOW_CHARS + OVERLAP_CHARS + SNIPPET_CHARS + 20, 3)
)
def test_half_a_word_at_the_border_of_a_window_is_no_hit(place: int) -> None:
    filler = "word " * 1_000
    assert "[" not in marked(filler[:place] + " firefoxes " + filler, '"fox"')
    assert "[" not in marked(filler[:place] + " firefox " + filler, '"fire"')


@pytest.mark.parametrize(
    "text",
    [
        "word " * 20_000 + "fox",
        "fo " * 33_000 + "fox",
        "猫" * 99_999 + "é fox",
        "\u00ad" * 99_990 + " fox",
        "\ufdfa" * 99_990 + " fox",
        "e\u0301" * 49_990 + " fox",
        "a" + "\u0301" * 99_990 + " fox",
        "a-" * 49_990 + " fox",
        "x" * 99_990 + " fox",
    ],
)
def test_snippet_of_100_000_characters_takes_less_than_half_a_second(text: str) -> None:
    """Processor time, so that other work on the machine does not count. The bound is many times what it takes here."""
    terms = parse_terms('"fo fox" "a b" fox').wanted
    before = time.thread_time()
    make_snippet(text, terms)
    assert time.thread_time() - before < 0.5


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
