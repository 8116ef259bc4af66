"""The cache of rendered texts: its bound, the order of eviction, and what it remembers of failures."""

from __future__ import annotations

from uuid import UUID

import pytest

from chatserver.rendering.cache import ENTRY_CHARS, MAX_AGE_SECONDS, RenderedTexts

ONE, TWO = UUID(int=1), UUID(int=2)


def test_different_texts_have_different_keys() -> None:
    texts = RenderedTexts(10_000)
    texts.keep(texts.key("a"), "<p>a</p>")
    assert texts.look_up(texts.key("a")) == "<p>a</p>"
    for other in ("A", "a ", "", "ä"):
        with pytest.raises(KeyError):
            texts.look_up(texts.key(other))


def test_full_cache_evicts_the_least_recently_used() -> None:
    texts = RenderedTexts(3 * (ENTRY_CHARS + 10))
    for name in (b"a", b"b", b"c"):
        texts.keep(name, "x" * 10)
    assert (len(texts), texts.chars) == (3, 3 * (ENTRY_CHARS + 10))
    texts.look_up(b"a")
    texts.keep(b"d", "x" * 10)
    assert texts.chars == 3 * (ENTRY_CHARS + 10)
    with pytest.raises(KeyError):
        texts.look_up(b"b")
    assert [texts.look_up(name) for name in (b"a", b"c", b"d")] == ["x" * 10] * 3


def test_failures_are_bounded_and_the_oldest_is_forgotten() -> None:
    texts = RenderedTexts(10 * ENTRY_CHARS)
    for number in range(1_000):
        texts.keep(number.to_bytes(2), None)
    assert (len(texts), texts.chars) == (10, 10 * ENTRY_CHARS)
    assert texts.look_up((999).to_bytes(2)) is None
    with pytest.raises(KeyError):
        texts.look_up((0).to_bytes(2))


def test_text_larger_than_the_bound_is_not_kept() -> None:
    texts = RenderedTexts(1_000)
    texts.keep(b"a", "x" * 1_000)
    assert (len(texts), texts.chars) == (0, 0)


def test_text_kept_twice_counts_once() -> None:
    texts = RenderedTexts(10_000)
    texts.keep(b"a", None)
    texts.keep(b"a", "x" * 10)
    assert texts.look_up(b"a") == "x" * 10
    assert texts.chars == ENTRY_CHARS + 10


def test_failure_is_not_forgotten_for_rendered_texts() -> None:
    texts = RenderedTexts(10 * ENTRY_CHARS)
    texts.keep(b"failed", None)
    for number in range(1_000):
        texts.keep(number.to_bytes(2), "x")
    assert texts.look_up(b"failed") is None
    texts.keep(b"failed", "x")
    assert texts.look_up(b"failed") == "x"


def test_html_is_not_kept_for_longer_than_its_time_however_often_it_is_used() -> None:
    texts = RenderedTexts(10_000)
    texts.keep(b"a", "x" * 10, 100)
    texts.keep(b"b", "x" * 10, 101)
    texts.keep(b"failed", None, 100)
    texts.look_up(b"a")
    texts.forget_old(100 + MAX_AGE_SECONDS - 1)
    assert (len(texts), texts.oldest) == (3, 100)
    texts.forget_old(100 + MAX_AGE_SECONDS)
    assert (len(texts), texts.oldest) == (2, 101)
    with pytest.raises(KeyError):
        texts.look_up(b"a")
    texts.keep(b"b", "y" * 10, 102)
    texts.forget_old(101 + MAX_AGE_SECONDS)
    assert texts.look_up(b"b") == "y" * 10
    texts.forget_html()
    assert (len(texts), texts.chars, texts.oldest) == (1, ENTRY_CHARS, None)
    assert texts.look_up(b"failed") is None


def test_company_forgets_what_it_asked_for_and_nothing_else() -> None:
    texts = RenderedTexts(100 * ENTRY_CHARS)
    texts.keep(b"own", "x" * 10, 1, {ONE})
    texts.keep(b"of both", "x" * 10, 2, {ONE, TWO})
    texts.keep(b"other", "x" * 10, 3, {TWO})
    texts.keep(b"later", "x" * 10, 4, {TWO})
    texts.keep(b"failed", None, 5, {ONE})
    with pytest.raises(KeyError):  # it is there, but not for this company
        texts.look_up(b"later", ONE)
    for _ in range(2):
        texts.keep(b"later", "x" * 10, 4, {ONE})
        assert [texts.look_up(b"later", company) for company in (ONE, TWO)] == ["x" * 10] * 2
    assert texts.chars == 40 + 7 * ENTRY_CHARS
    for _ in range(2):
        texts.forget_html_of(ONE)
    assert (len(texts), texts.chars, texts.oldest) == (2, 10 + 2 * ENTRY_CHARS, 3)
    assert (texts.look_up(b"other", TWO), texts.look_up(b"failed", ONE)) == ("x" * 10, None)
    texts.forget_old(3 + MAX_AGE_SECONDS)
    assert texts.chars == ENTRY_CHARS
    assert not texts._keys
    assert not texts._companies


def test_text_that_all_companies_ask_for_stays_within_the_bound() -> None:
    texts = RenderedTexts(10 * ENTRY_CHARS)
    texts.keep(b"a", "x")
    for number in range(20):
        texts.keep(b"a", "x", companies={UUID(int=number)})
        assert texts.chars <= 10 * ENTRY_CHARS
