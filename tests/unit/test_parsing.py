"""Ids, bodies and queries are parsed into models or raise errors of `chatserver.errors`."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from chatserver.errors import MalformedError, UnsupportedMediaTypeError, ValidationError
from chatserver.schemas import CreateAgent, CreateMessage, StopAnswer, UpdateConversation
from chatserver.web.http.parsing import is_json, parse_body, parse_id, parse_query
from chatserver.web.openapi.queries import ListAgents, ListConversations, ListMessages

ID = "01a2066c-ab45-7b03-90cb-32bab075e0f7"
JSON = HTTPHeaders({"Content-Type": "application/json"})


def problems(body: bytes, model: Any = CreateMessage) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        parse_body(model, body, JSON)
    return {problem.path: problem.message for problem in caught.value.problems}


# --- bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        " application/json ; charset=utf8; x=y",
    ],
)
def test_json_content_type_is_accepted(content_type: str) -> None:
    assert is_json(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/jsonp",
        "application/problem+json",
        "text/json",
        "application/json; charset=latin-1",
        "application/json, text/plain",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
    ],
)
def test_other_content_type_is_refused(content_type: str | None) -> None:
    assert not is_json(content_type)
    headers = HTTPHeaders({} if content_type is None else {"Content-Type": content_type})
    with pytest.raises(UnsupportedMediaTypeError):
        parse_body(StopAnswer, b"{}", headers)
    assert parse_body(StopAnswer, b"", headers) == StopAnswer()


def test_a_compressed_body_is_refused() -> None:
    headers = HTTPHeaders({"Content-Type": "application/json", "Content-Encoding": "gzip"})
    with pytest.raises(UnsupportedMediaTypeError, match="Content-Encoding"):
        parse_body(StopAnswer, b"{}", headers)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{]",
        b" ",
        b"{'keep': true}",
        b'{"keep": True}',
        b'{"keep": true,}',
        b'{"keep": true} x',
        b'{"keep": true}{}',
        b'{"x": NaN}',
        b'{"x": Infinity}',
        b'{"x": -Infinity}',
        b'{"x": 01}',
        b'{"x": "\xff"}',
        b'{"x": "\xed\xa0\x80"}',
        b'{"x": "\n"}',
        b'{"x": "\\ud800"}',
        b'{"x": "\\udc00\\ud800"}',
        b'{"x": "\\q"}',
        b"\xef\xbb\xbf{}",
        b'{"keep": true}\x00',
        '{"keep": true}'.encode("utf-16"),
        b'{"x": ' + b"[" * 100_000,
        b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
    ],
)
def test_invalid_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError, match="Malformed JSON"):
        parse_body(StopAnswer, body, JSON)


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"', b"true", b"[{}]"])
def test_body_other_than_object_is_refused(body: bytes) -> None:
    assert problems(body) == {"": "must be an object"}


def test_problem_paths_use_camel_case_keys() -> None:
    body = {"name": "a", "adapterType": "llm", "adapterConfig": {"provider": "p", "maxTokens": 0}}
    found = problems(json.dumps(body).encode(), CreateAgent)
    assert found == {"adapterConfig.maxTokens": "Input should be greater than or equal to 1"}
    assert problems(b"{}") == {"role": "Field required", "content": "Field required"}
    assert problems(b'{"role": "user", "content": "\\u0000"}') == {"content": "must not contain NUL characters"}


def test_problems_do_not_repeat_sent_values() -> None:
    body = json.dumps({"role": "s3cret", "content": ["s3cret"], "agentId": "s3cret"}).encode()
    assert "s3cret" not in str(problems(body))


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 400, "1" * 4_000, "1e308", "0.1", "-1"])
@pytest.mark.parametrize("key", ["maxTokens", "temperature", "provider"])
def test_absurd_numbers_are_refused(number: str, key: str) -> None:
    config = f'{{"provider": "p", "{key}": {number}}}'
    body = f'{{"name": "a", "adapterType": "llm", "adapterConfig": {config}}}'.encode()
    if (key, number) == ("temperature", "0.1"):
        assert parse_body(CreateAgent, body, JSON).adapter_config is not None
        return
    with pytest.raises((ValidationError, MalformedError)):
        parse_body(CreateAgent, body, JSON)


def test_number_with_too_many_digits_is_malformed() -> None:
    with pytest.raises(MalformedError):
        parse_body(StopAnswer, b'{"x": ' + b"1" * 100_000 + b"}", JSON)


def test_snake_case_keys_are_ignored() -> None:
    body = b'{"agent_id": "01a2066c-ab45-7b03-90cb-32bab075e0f7", "title": "t"}'
    assert parse_body(UpdateConversation, body, JSON).changes() == {"title": "t"}


def test_last_of_duplicate_keys_wins() -> None:
    assert parse_body(StopAnswer, b'{"keep": 1, "keep": true}', JSON).keep


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.binary(max_size=100) | VALUES.map(json.dumps).map(str.encode))
def test_arbitrary_body_is_parsed_or_raises_our_error(body: bytes) -> None:
    for model in (CreateMessage, CreateAgent, UpdateConversation):
        try:
            assert isinstance(parse_body(model, body, JSON), model)
        except (MalformedError, ValidationError):
            pass


@given(st.dictionaries(st.sampled_from(["name", "adapterType", "adapterConfig", "role", "content"]), VALUES))
def test_arbitrary_values_are_parsed_or_raise_our_error(data: dict[str, Any]) -> None:
    for model in (CreateMessage, CreateAgent):
        try:
            parse_body(model, json.dumps(data).encode(), JSON)
        except (MalformedError, ValidationError):
            pass


# --- queries ----------------------------------------------------------------------------------------------


def wrong(query: str, model: Any = ListConversations) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        parse_query(model, query)
    return [problem.path for problem in caught.value.problems]


def test_empty_query_has_defaults() -> None:
    for query in ("", "&", "unknown=1&unknown=2&=&x", "LIMIT=5", "%6Cimit=7"):
        found = parse_query(ListConversations, query)
        assert found == ListConversations()
        assert (found.limit, found.cursor, found.archived, found.agent_id, found.q) == (30, None, "false", None, None)
    assert parse_query(ListMessages, "") == ListMessages(limit=50, cursor=None, order="asc", superseded="exclude")
    assert parse_query(ListAgents, "") == ListAgents(limit=30, cursor=None)


def test_query_values_are_parsed() -> None:
    found = parse_query(ListConversations, f"limit=100&cursor=abc&archived=all&agentId={ID}&q=a%20b+c%25")
    assert (found.limit, found.cursor, found.archived, found.agent_id) == (100, "abc", "all", UUID(ID))
    assert found.q == "a b c%"
    assert parse_query(ListMessages, "limit=200&order=desc&superseded=include").limit == 200


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=", "limit"),
        ("limit", "limit"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=%2B5", "limit"),
        ("limit=5.0", "limit"),
        ("limit=1e1", "limit"),
        ("limit=1_0", "limit"),
        ("limit=+5", "limit"),
        ("limit=٣", "limit"),
        ("limit=" + "9" * 5_000, "limit"),
        ("limit=true", "limit"),
        ("limit=5&limit=5", "limit"),
        ("cursor=", "cursor"),
        ("archived=", "archived"),
        ("archived=True", "archived"),
        ("archived=none", "archived"),
        ("agentId=", "agentId"),
        ("agentId=x", "agentId"),
        (f"agentId={ID.replace('-', '')}", "agentId"),
        ("q=", "q"),
        ("q=" + "a" * 201, "q"),
        ("q=%00", "q"),
        ("q=%", "q"),
        ("q=%zz", "q"),
        ("q=%e", "q"),
        ("q=%ff", "q"),
        ("q=%ed%a0%80", "q"),
        ("q=\xff", "q"),
        ("q=a&q=a", "q"),
    ],
)
def test_invalid_query_value_is_refused_with_its_path(query: str, path: str) -> None:
    query = query if query.isascii() or query == "q=\xff" else query.encode().decode("latin-1")
    assert wrong(query) == [path]


@pytest.mark.parametrize("query", ["order=", "order=up", "superseded=all", "limit=201", "limit=0"])
def test_invalid_query_of_messages_is_refused(query: str) -> None:
    assert wrong(query, ListMessages) == [query.partition("=")[0]]


@given(st.text(min_size=1, max_size=50).filter(lambda text: "\x00" not in text))
def test_text_arrives_escaped_and_unescaped(text: str) -> None:
    for escaped in (quote(text, safe=""), quote_plus(text)):
        assert parse_query(ListConversations, f"q={escaped}").q == text
    raw = text.encode().decode("latin-1")  # as Tornado hands it over
    if not set(text) & set("%+&#"):
        assert parse_query(ListConversations, f"q={raw}").q == text


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
def test_arbitrary_query_is_parsed_or_raises_our_error(text: str) -> None:
    for query in (text, f"q={text}", f"limit={text}", f"cursor={text}", f"agentId={text}"):
        try:
            parse_query(ListConversations, query)
        except ValidationError:
            pass


# --- paths ------------------------------------------------------------------------------------------------


def test_id_in_path_is_parsed_or_malformed() -> None:
    assert parse_id(ID) == UUID(ID)
    for text in ("x", "", ID[1:], "null", "0" * 5_000):
        with pytest.raises(MalformedError, match="Malformed id"):
            parse_id(text)
