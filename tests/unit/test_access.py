"""The guards of `local_trusted`, and which companies an actor may see."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from chatserver.errors import ForbiddenError
from chatserver.services.access import Actor, LocalTrusted, local_actor

ACCESS = LocalTrusted(allowed_hosts=["chat.example.org", "::5"], allowed_origins=["https://app.example.org"])


def allowed(path: str = "/api/session", **headers: str) -> bool:
    named = HTTPHeaders({name.replace("_", "-"): value for name, value in headers.items()})
    try:
        ACCESS.guard(path, named)
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
        ("chat.example.org", "https://chat.example.org"),
        ("chat.example.org:443", "https://chat.example.org"),
        ("localhost:8000", "https://app.example.org"),
        ("localhost:8000", "https://APP.example.org"),
    ],
)
def test_the_same_origin_and_the_operators_own_are_origins(host: str, origin: str) -> None:
    assert allowed(host=host, origin=origin)
    assert allowed(host=host, origin=origin, sec_fetch_site="same-origin")


@pytest.mark.parametrize("path", ["/", "/api/conversations/x/stream", "/metrics"])
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


def test_cross_site_browser_request_is_refused_under_api() -> None:
    for path in ("/api", "/api/", "/api/session", "/api/conversations/x/stream", "/api/nowhere"):
        assert not allowed(path, host="localhost", sec_fetch_site="cross-site")
        assert not allowed(path, host="localhost", sec_fetch_site=" Cross-Site ")
        for site in ("same-origin", "same-site", "none", "something-new"):
            assert allowed(path, host="localhost", sec_fetch_site=site)
    # A link from another site to the page is no harm.
    assert allowed("/", host="localhost", sec_fetch_site="cross-site")
    assert allowed("/apiary", host="localhost", sec_fetch_site="cross-site")


def test_an_allowed_site_may_send_from_another_site() -> None:
    assert allowed(host="localhost", origin="https://app.example.org", sec_fetch_site="cross-site")
    assert not allowed(host="localhost", origin="http://localhost", sec_fetch_site="cross-site")


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20))
def test_arbitrary_headers_do_not_break_the_guard(host: str, origin: str, site: str) -> None:
    assert allowed(host=host) in (True, False)
    assert allowed(host="localhost", origin=origin, sec_fetch_site=site) in (True, False)
    assert not allowed(host=f"{host}.evil.example")
    assert not allowed(host="localhost:8000", origin=f"http://{origin}.evil.example")


async def test_everyone_is_the_board_in_local_trusted() -> None:
    actor = await ACCESS.authenticate(HTTPHeaders())
    assert actor == local_actor()
    assert (actor.name, actor.scope) == ("board", None)
    actor.require_company(uuid4())


def test_an_actor_of_a_company_is_kept_to_it() -> None:
    company = uuid4()
    actor = Actor("someone", frozenset({company}))
    assert actor.scope == (company,)
    actor.require_company(company)
    with pytest.raises(ForbiddenError):
        actor.require_company(uuid4())
    with pytest.raises(ForbiddenError):
        Actor("nobody", frozenset()).require_company(company)
