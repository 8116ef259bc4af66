"""The router finds what Tornado's rules find, for every route of the table and for odd paths."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, RequestStartLine
from tornado.routing import PathMatches

from chatserver.web.http.request import Request
from chatserver.web.http.router import Router, Target
from chatserver.web.routes import BESIDE_THE_API, ROUTES

NAMES = [route.path for route in ROUTES] + [pattern for pattern, _ in BESIDE_THE_API]
RULES = [PathMatches(route.pattern) for route in ROUTES] + [PathMatches(pattern) for pattern, _ in BESIDE_THE_API]
ROUTER: Router[object] = Router(
    [(route.path, Target(object, {"name": route.path})) for route in ROUTES],
    [(pattern, Target(object, {"name": pattern})) for pattern, _ in BESIDE_THE_API],
)


class _Connection:
    context = None


def by_rules(path: str) -> tuple[str, list[str]] | None:
    """What Tornado finds: the first of its rules that matches."""
    start_line = RequestStartLine("GET", path, "HTTP/1.1")
    request = Request(start_line, HTTPHeaders(), _Connection())  # type: ignore[arg-type]
    for name, rule in zip(NAMES, RULES, strict=True):
        if rule.match(request) is not None:
            match = rule.regex.match(request.path)
            assert match is not None
            return name, list(match.groups())
    return None


def by_router(path: str) -> tuple[str, list[str]] | None:
    found = ROUTER.find(path)
    return None if found is None else (found[0].arguments["name"], found[1])


# What stands for the parameters of a path.
TEXTS = ["x", "0199b0de-0000-7000-8000-000000000001", "%2F", "%", "%zz", "ä", "{id}", "messages", "a" * 60_000, "~.;=&"]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_path_of_each_route_is_found(text: str) -> None:
    for route in ROUTES:
        path = re.sub(r"{\w+}", text.replace("\\", r"\\"), route.path)
        assert by_router(path) == (route.path, [text] * len(route.parameters)) == by_rules(path)


@pytest.mark.parametrize("path", [re.sub(r"{\w+}", "x", route.path) for route in ROUTES])
def test_odd_spelling_of_a_path_is_found_as_by_rules(path: str) -> None:
    for odd in (f"{path}/", f"/{path}", path.replace("/", "//", 2), path.upper(), f"{path}/x", path[:-1], f"{path}%2F"):
        assert by_router(odd) == by_rules(odd)
    for at in range(len(path)):
        for inserted in ("/", "%2f", ".", "\xe4", ";"):
            odd = path[:at] + inserted + path[at:]
            assert by_router(odd) == by_rules(odd)


SEGMENT = st.sampled_from(
    sorted(
        {segment for route in ROUTES for segment in route.path.split("/")} | {"", "static", "c", "healthz", "x", ".."}
    )
) | st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="/?"), max_size=5)


@given(st.lists(SEGMENT, max_size=8))
@example(["static", "a", "b"])
@example(["static", ""])
@example(["c"])
@example(["c", "", "x"])
@example(["readyz", ""])
@example([""])
def test_any_path_is_found_as_by_rules(segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    assert by_router(path) == by_rules(path)
    assert by_router(path[1:]) == by_rules(path[1:])


@pytest.mark.parametrize(
    "paths",
    [("/a/{x}", "/a/b"), ("/a/b", "/a/{x}"), ("/a/{x}", "/a/{y}"), ("/a/{x}/c", "/a/b/d"), ("/a", "/a")],
)
def test_routes_that_fit_the_same_path_are_refused(paths: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="/a"):
        Router([(path, Target(object, {})) for path in paths], [])
