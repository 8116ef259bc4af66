"""The headers of responses to pages of other sites. The setting is parsed once, not for each request."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders

from chatserver.web.http import cors, guards, origins
from chatserver.web.http.cors import cors_headers
from chatserver.web.http.guards import Guards

SITE = "https://app.example.org"


def test_origins_of_the_setting_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = Guards(allowed_origins=[SITE, "https://b.example"]).allowed_origins
    parsed = []

    def parse(text: str) -> origins.Origin | None:
        parsed.append(text)
        return origins.parse_origin(text)

    monkeypatch.setattr(cors, "parse_origin", parse)
    monkeypatch.setattr(guards, "parse_origin", parse)
    headers = cors_headers(HTTPHeaders({"Origin": f"{SITE}:443"}), allowed, ["GET"])
    assert headers["Access-Control-Allow-Origin"] == f"{SITE}:443"
    assert parsed == [f"{SITE}:443"]


@pytest.mark.parametrize("origin", ["https://other.example", "null", ""])
def test_other_origins_get_nothing_but_vary(origin: str) -> None:
    allowed = Guards(allowed_origins=[SITE]).allowed_origins
    assert cors_headers(HTTPHeaders({"Origin": origin}), allowed, ["GET"]) == {"Vary": "Origin"}


def test_without_allowed_origins_nothing_is_added() -> None:
    assert cors_headers(HTTPHeaders({"Origin": SITE}), Guards().allowed_origins, ["GET"]) == {}
