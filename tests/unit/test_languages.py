"""The translations of the page: each catalogue has exactly the texts of the page, with their placeholders."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[2] / "chatserver" / "web" / "page" / "static"
SCRIPTS = STATIC / "js"
LANGUAGES = {"de": {"one", "other"}, "ar": {"zero", "one", "two", "few", "many", "other"}}
"""The plural categories of each language (Unicode CLDR)."""

Translation = str | dict[str, str]
"""Of a text that depends on a count: a form for each plural category."""

_STRING = r'"((?:[^"\\\n]|\\.)*)"'
_CALL = re.compile(r"(?<![\w.])(t|plural)\(")
_TEXT = re.compile(rf"\s*{_STRING}\s*[,)]")
_FORMS = re.compile(rf"[^{{;]*?\{{\s*one: {_STRING},\s*other: {_STRING},?\s*\}}")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class PageTexts(HTMLParser):
    """The texts and named attributes of the body, except of elements that are not to be translated."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._open: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in ("meta", "link", "input", "hr", "br"):
            self._open.append(tag in ("head", "script", "noscript") or values.get("translate") == "no")
        self.texts += [values[name] or "" for name in ("aria-label", "placeholder", "title") if name in values]

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip() and not any(self._open):
            self.texts.append(data.strip())


def page_texts() -> list[str]:
    parser = PageTexts()
    parser.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    return parser.texts


def calls() -> Iterator[tuple[str, str, str]]:
    """Each call of `t` and `plural`: where it is, which of them it is, and the source from its arguments on."""
    for path in sorted(SCRIPTS.rglob("*.js")):
        # Its own calls are about the texts of index.html.
        if path.name != "language.js":
            source = path.read_text(encoding="utf-8")
            for call in _CALL.finditer(source):
                where = f"{path.relative_to(SCRIPTS)}:{source.count(chr(10), 0, call.start()) + 1}"
                yield where, call[1], source[call.end() :]


def texts() -> dict[str, dict[str, str] | None]:
    """All English texts of the page; with the form for one thing if the text depends on a count."""
    found: dict[str, dict[str, str] | None] = dict.fromkeys(page_texts())
    for where, function, rest in calls():
        match = (_TEXT if function == "t" else _FORMS).match(rest)
        assert match, f"{where}: only a literal can be translated"
        strings = [json.loads(f'"{string}"') for string in match.groups()]
        found[strings[-1]] = {"one": strings[0]} if function == "plural" else None
    return found


def placeholders(text: str) -> set[str]:
    return set(_PLACEHOLDER.findall(text))


def translations(language: str) -> dict[str, Translation]:
    """A catalogue: the translations by their English texts."""
    module = (SCRIPTS / "languages" / f"{language}.js").read_text(encoding="utf-8")
    script = module.replace("export default", "const catalogue =") + "console.log(JSON.stringify(catalogue))"
    command = ["node", "--input-type=module", "-"]
    result = subprocess.run(command, input=script, capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, Translation] = json.loads(result.stdout)
    return found


@pytest.mark.npm
@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogue_has_exactly_the_texts_of_the_page(language: str) -> None:
    catalogue = translations(language)
    assert sorted(texts().keys() - catalogue.keys()) == [], "not translated"
    assert sorted(catalogue.keys() - texts().keys()) == [], "not in the page"
    for english, forms in texts().items():
        translation = catalogue[english]
        if forms is None:
            assert isinstance(translation, str) and translation.strip(), english
            assert placeholders(translation) == placeholders(english), english
        else:
            assert isinstance(translation, dict) and translation.keys() == LANGUAGES[language], english
            # A form for one or two things need not name their number.
            assert placeholders(translation["other"]) == placeholders(english), english
            for form in translation.values():
                assert placeholders(english) - {"count"} <= placeholders(form) <= placeholders(english), english


def test_texts_of_the_page_are_plain() -> None:
    """One way to write an ellipsis and a quotation mark."""
    assert len(texts()) > 100
    assert [text for text in texts() if "..." in text or '"' in text] == []
