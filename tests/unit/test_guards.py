"""The guards of all modes: which requests are refused by their headers alone."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from chatserver.errors import ForbiddenError
from chatserver.web.http.guards import Guards
from chatserver.web.http.origins import request_scheme

GUARDS = Guards(allowed_hosts=["chat.example.org", "::5"], allowed_origins=["https://app.example.org"])


def allowed(path: str = "/api/session", scheme: str = "http", **headers: str) -> bool:
    named = HTTPHeaders({name.replace("_", "-"): value for name, value in headers.items()})
    try:
        GUARDS.check(path, named, scheme)
    except ForbiddenError:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LocalHost:8000",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:65535",
        "127.8.9.10:1",
        "[::1]",
        "[::1]:8000",
        "[0:0:0:0:0:0:0:1]:8000",
        "localhost:",
        "chat.example.org",
        "CHAT.example.org:443",
        "[::5]:80",
    ],
)
def test_loopback_names_and_the_operators_own_are_hosts(host: str) -> None:
    assert allowed(host=host)
    assert allowed("/", host=host)


BAD_HOSTS = [
    "",
    " ",
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1.nip.io",
    "evil-localhost",
    "xlocalhost",
    "localhost..",
    ".localhost",
    "sub.chat.example.org",
    "example.org",
    "user@localhost",
    "localhost@evil.example",
    "localhost:80@evil.example",
    "localhost:8000:8000",
    "localhost:x",
    "localhost/",
    "localhost, evil.example",
    "localhost evil.example",
    "localhost\\@evil.example",
    "localhost%00.evil.example",
    "loc\u0430lhost",
    "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
    "0.0.0.0",
    "[::]",
    "128.0.0.1",
    "192.168.0.1:8000",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "127.0.0.256",
    "[127.0.0.1]",
    "[::1",
    "::1",
    "[::1]x",
    "[::1]@evil.example",
    "[fe80::1]",
]


@pytest.mark.parametrize("path", ["/", "/healthz", "/static/x.js", "/api/session", "/nowhere"])
@pytest.mark.parametrize("host", BAD_HOSTS)
def test_every_other_host_is_refused_everywhere(path: str, host: str) -> None:
    assert not allowed(path, host=host)


def test_a_request_without_host_is_refused() -> None:
    assert not allowed()


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("localhost:8000", "http://LOCALHOST:8000"),
        ("localhost", "http://localhost"),
        ("localhost", "http://localhost:80"),
        ("localhost:80", "http://localhost"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("chat.example.org", "http://chat.example.org"),
        ("localhost.:8000", "http://localhost.:8000"),
        ("[0:0:0:0:0:0:0:1]:8000", "http://[::1]:8000"),
        ("localhost:8000", "https://app.example.org"),
        ("localhost:8000", "https://APP.example.org"),
        ("localhost:8000", "https://app.example.org:443"),
    ],
)
def test_the_same_origin_and_the_operators_own_are_origins(host: str, origin: str) -> None:
    assert allowed(host=host, origin=origin)
    assert allowed(host=host, origin=origin, sec_fetch_site="same-origin")


@pytest.mark.parametrize("path", ["/api", "/api/conversations/x/stream", "/api/nowhere"])
@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "http://evil.example",
        "http://evil.example:8000",
        "http://localhost",
        "http://localhost:8001",
        "https://localhost",
        "https://localhost:8000",
        "http://localhost.:8000",
        "http://[::1]:8000",
        "http://localhost:8000,http://localhost:8000",
        "https://app.example.org.",
        "https://app.example.org:80",
        "https://user@app.example.org",
        "https://app.example.org,http://localhost:8000",
        "http://127.0.0.1:8000",
        "http://localhost:8000.evil.example",
        "http://localhost:8000@evil.example",
        "http://user@localhost:8000",
        "http://localhost:8000/",
        "http://localhost:8000/path",
        "http://localhost:8000?x",
        "http://localhost:8000#x",
        "localhost:8000",
        "//localhost:8000",
        "ftp://localhost:8000",
        "file://localhost:8000",
        "http://localhost:8000, http://evil.example",
        "http://localhost:8000 http://evil.example",
        "http://app.example.org",
        "https://app.example.org:444",
        "https://app.example.org.evil.example",
        "https://x.app.example.org",
        "http://[",
        "http://[::1",
        "http://localhost:port",
        "chrome-extension://abcdef",
    ],
)
def test_every_other_origin_is_refused(path: str, origin: str) -> None:
    assert not allowed(path, host="localhost:8000", origin=origin)


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/session", "/api/conversations/x/stream", "/api/nowhere"])
def test_request_of_another_site_of_this_machine_is_refused_under_api(path: str) -> None:
    for site in ("cross-site", " Cross-Site ", "same-site", "something-new", "", "same-origin, none", "same-origin,x"):
        assert not allowed(path, host="localhost", sec_fetch_site=site)
        # The page of the server itself has no other Origin than its own.
        assert not allowed(path, host="localhost", origin="http://localhost", sec_fetch_site=site)
    for site in ("same-origin", "none", "Same-Origin"):
        assert allowed(path, host="localhost", sec_fetch_site=site)


@pytest.mark.parametrize("path", ["/", "/c/x", "/static/x.js", "/healthz", "/metrics", "/apiary", "/nowhere"])
def test_pages_of_other_sites_may_link_to_what_is_not_api(path: str) -> None:
    for site in ("cross-site", "same-site"):
        assert allowed(path, host="localhost", sec_fetch_site=site, sec_fetch_mode="navigate")
    assert allowed(path, host="localhost", origin="http://localhost:1")


@pytest.mark.parametrize("mode", ["navigate", "Navigate", "nested-navigate"])
def test_navigation_to_a_stream_is_refused_even_of_our_own_page(mode: str) -> None:
    path = "/api/conversations/x/stream"
    for more in (
        {},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "same-origin"},
        {"origin": "https://app.example.org"},
    ):
        assert not allowed(path, host="localhost", sec_fetch_mode=mode, **more)
        assert allowed(path, host="localhost", sec_fetch_mode="cors", **more)
    # Any other resource may be looked at in a browser.
    assert allowed("/api/conversations/x", host="localhost", sec_fetch_mode=mode, sec_fetch_site="none")
    assert allowed("/api/conversations/x/export", host="localhost", sec_fetch_mode=mode, sec_fetch_site="same-origin")


def test_origin_is_compared_with_the_scheme_that_the_client_used() -> None:
    for host in ("chat.example.org", "chat.example.org:443"):
        assert allowed(host=host, origin="https://chat.example.org", scheme="https")
        assert not allowed(host=host, origin="http://chat.example.org", scheme="https")
    assert not allowed(host="chat.example.org", origin="https://chat.example.org")
    assert not allowed(host="chat.example.org:8000", origin="http://chat.example.org:8000", scheme="https")


def test_browser_vouches_for_the_scheme_that_a_proxy_did_not_tell() -> None:
    assert allowed(host="chat.example.org", origin="https://chat.example.org", sec_fetch_site="same-origin")
    for origin in ("https://chat.example.org:8000", "https://evil.example", "null"):
        assert not allowed(host="chat.example.org", origin=origin, sec_fetch_site="same-origin")
    assert not allowed(host="chat.example.org", origin="https://chat.example.org", sec_fetch_site="same-site")


def test_an_allowed_site_may_send_from_another_site() -> None:
    assert allowed(host="localhost", origin="https://app.example.org", sec_fetch_site="cross-site")
    assert not allowed(host="localhost", origin="http://localhost", sec_fetch_site="cross-site")


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20))
def test_arbitrary_headers_do_not_break_the_guard(host: str, origin: str, site: str) -> None:
    assert allowed(host=host) in (True, False)
    assert allowed(host="localhost", origin=origin, sec_fetch_site=site) in (True, False)
    assert not allowed(host=f"{host}.evil.example")
    assert not allowed(host="localhost:8000", origin=f"http://{origin}.evil.example")


@pytest.mark.parametrize(
    ("peer", "forwarded", "scheme"),
    [
        ("10.0.0.1", "https", "https"),
        ("10.0.0.1", " HTTPS ", "https"),
        ("10.0.0.1", "http, https", "https"),
        ("10.0.0.1", "https, http", "http"),
        ("::ffff:10.0.0.1", "https", "https"),
        ("10.0.0.1", "", "http"),
        ("10.0.0.1", "gopher", "http"),
        ("10.0.1.1", "https", "http"),
        ("0.0.0.0", "https", "http"),
        ("", "https", "http"),
    ],
)
def test_forwarded_scheme_counts_only_from_a_trusted_proxy(peer: str, forwarded: str, scheme: str) -> None:
    trusted = (ipaddress.ip_network("10.0.0.0/24"),)
    headers = HTTPHeaders({"X-Forwarded-Proto": forwarded})
    assert request_scheme("http", peer, headers, trusted) == scheme
    assert request_scheme("http", peer, headers, ()) == "http"
