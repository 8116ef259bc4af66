"""Parsing a query into words, phrases and exclusions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.storage.search.terms import Phrase, Terms, parse_terms
from chatserver.storage.search.words import words_of


def wanted(query: str) -> list[str]:
    """The terms as strings; a prefix ends in `…`."""
    terms = parse_terms(query)
    assert terms.unwanted == ()
    return [" ".join(phrase.words) + "…" * phrase.goes_on for phrase in terms.wanted]


@pytest.mark.parametrize(
    ("query", "phrases"),
    [
        ("red fox", ["red", "fox…"]),
        ("red fox ", ["red", "fox…"]),
        ('"red fox"', ["red fox"]),
        ('"red fox" den', ["red fox", "den…"]),
        ('den "red fox"', ["den", "red fox"]),
        ('"red fo', ["red fo…"]),
        ("“red fox”", ["red fox"]),
        ("«red fox» „den“", ["red fox", "den"]),
        ('red"fox den"cub', ["red", "fox den", "cub…"]),
        ("foo-bar", ["foo bar…"]),
        ("self._database.autocommit(x)", ["self database autocommit x"]),
        ("C++", ["c"]),
        ("a", ["a"]),
        ("an", ["an…"]),
        ("Größe", ["grösse…"]),
        ("cafe\u0301", ["café…"]),
        ("猫です", ["猫 で す"]),
        ("oﬃce Do\u00adnau", ["office", "donau…"]),
        ("한국어", ["한 국 어"]),
        ("👍", ["👍"]),
        ("don't", ["don t"]),
        ("' \\ : & | ! ( ) <-> * @", []),
        ("", []),
        ('""', []),
        ("- fox", ["fox…"]),
    ],
)
def test_wanted_words_and_phrases_are_parsed(query: str, phrases: list[str]) -> None:
    assert wanted(query) == phrases


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("fox -red", Terms((Phrase(("fox",)),), (Phrase(("red",)),))),
        ("-red fox", Terms((Phrase(("fox",), True),), (Phrase(("red",)),))),
        ('fox -"red den"', Terms((Phrase(("fox",)),), (Phrase(("red", "den")),))),
        ("-red", Terms((), (Phrase(("red",)),))),
        ("--red", Terms((), (Phrase(("red",)),))),
    ],
)
def test_unwanted_words_and_phrases_are_parsed(query: str, terms: Terms) -> None:
    assert parse_terms(query) == terms


def test_terms_become_a_tsquery() -> None:
    terms = parse_terms('red "old fox" -den -"big cub" wo')
    assert terms.tsquery == "('red') & ('old' <-> 'fox') & ('wo':*) & !('den') & !('big' <-> 'cub')"
    assert terms.wanted_tsquery == "('red') & ('old' <-> 'fox') & ('wo':*)"


@given(st.text(max_size=100))
def test_words_hold_no_syntax_of_tsquery(query: str) -> None:
    terms = parse_terms(query)
    for phrase in (*terms.wanted, *terms.unwanted):
        for word in phrase.words:
            assert word
            assert not set(word) & set("'\\&|!<>():*@ \t\n")
            assert words_of(word) == [word]
