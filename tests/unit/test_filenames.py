"""File names of downloads: every title gives a name that every system accepts."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatserver.web.http.filenames import FALLBACK, MAX_NAME_BYTES, content_disposition, safe_name


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Plans for 2026", "Plans for 2026"),
        ("Größe & Maß", "Größe & Maß"),
        ("日本語 の 題", "日本語 の 題"),
        ("مرحبا", "مرحبا"),
        ("👩‍🚀 log", "👩‍🚀 log"),
        ("../../etc/passwd", "etc passwd"),
        ("C:\\Windows\\x", "C Windows x"),
        ('a"b;c%41d', "a b c 41d"),
        ("line\r\nX-Header: 1", "line X-Header 1"),
        ("\u202egpj.exe", "gpj.exe"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("ends in dots...", "ends in dots"),
        ("con", "conversation con"),
        ("NUL.txt", "conversation NUL.txt"),
        ("console", "console"),
        ("", FALLBACK),
        ("///", FALLBACK),
        ("\x00\x1f", FALLBACK),
        ("cafe\u0301", "café"),
    ],
)
def test_safe_name_of_title(title: str, name: str) -> None:
    assert safe_name(title) == name


def test_a_name_is_cut_between_characters() -> None:
    name = safe_name("語" * 200)
    assert name == "語" * (MAX_NAME_BYTES // 3)
    for character in ("👨\u200d👩\u200d👧\u200d👦", "🇩🇪", "e\u0323\u0302\u0308"):
        assert safe_name("x" * (MAX_NAME_BYTES - 2) + character) == "x" * (MAX_NAME_BYTES - 2)
    assert len(safe_name("a" + "\u0320" * 200).encode()) <= MAX_NAME_BYTES


@pytest.mark.parametrize(
    ("title", "value"),
    [
        ("Plans", 'attachment; filename="Plans.md"'),
        (None, 'attachment; filename="conversation.md"'),
        ("Größe", "attachment; filename=\"Groe.md\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.md"),
        ("猫 a", "attachment; filename=\"a.md\"; filename*=UTF-8''%E7%8C%AB%20a.md"),
        ("猫", "attachment; filename=\"conversation.md\"; filename*=UTF-8''%E7%8C%AB.md"),
    ],
)
def test_content_disposition_of_title(title: str | None, value: str) -> None:
    assert content_disposition(title, "md") == value


# RFC 6266, section 4.1, and RFC 8187, section 3.2.1
HEADER = re.compile(
    r"""attachment;\ filename="(?P<plain>[\x20!#-\x5b\x5d-\x7e]+)"
    (?:;\ filename\*=UTF-8''(?P<extended>(?:[A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-F]{2})+))?""",
    re.VERBOSE,
)


@given(st.text())
@example("aux.")
@example("…con.x")
def test_arbitrary_title_gives_a_valid_header(title: str) -> None:
    value = content_disposition(title, "json")
    match = HEADER.fullmatch(value)
    assert match is not None, value
    for name in (match["plain"], unquote(match["extended"] or match["plain"])):
        assert name.endswith(".json")
        assert not set(name) & set('/\\:*?"<>|%')
        assert not name.startswith((".", "-", " "))
        assert len(name.encode()) <= MAX_NAME_BYTES + len(".json")
        assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)\.", name)
        assert all(unicodedata.category(char) not in ("Cc", "Zl", "Zp") for char in name)
