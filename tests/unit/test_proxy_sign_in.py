"""Who it is by the headers of a proxy, and what they may by the settings."""

from __future__ import annotations

import time
from uuid import UUID, uuid4

import pytest
from tornado.httputil import HTTPHeaders

from chatserver.errors import ConfigurationError, NotSignedInError
from chatserver.services.access import Actor, Role
from chatserver.services.proxy_sign_in import ACCESS_SECONDS, ProxySignIn
from chatserver.settings import Settings
from chatserver.web.http.caller import RequestCaller

ONE, TWO = uuid4(), uuid4()
MEMBERSHIPS = [
    {"user": "ann", "company": ONE},
    {"user": "ann", "company": TWO, "role": "reader"},
    {"user": "Jürgen Groß", "company": ONE, "role": "manager"},
    {"user": "root", "admin": True},
    {"group": "readers", "company": ONE, "role": "reader"},
    {"group": "managers", "company": ONE, "role": "manager"},
    {"group": "cn=ops ü", "admin": True},
]
SETTINGS = Settings(auth="proxy", trusted_proxies=("10.0.0.0/8", "unix"), memberships=MEMBERSHIPS)
USER, GROUPS = SETTINGS.user_header, SETTINGS.groups_header


async def actor(*lines: tuple[str, str], peer: str = "unix", settings: Settings = SETTINGS) -> Actor:
    headers = HTTPHeaders()
    for name, value in lines:
        headers.add(name, value)
    caller = RequestCaller(peer, "http", headers, settings.trusted_proxies)
    return await ProxySignIn(settings).authenticate(headers, caller)


@pytest.mark.parametrize(
    ("user", "groups", "roles"),
    [
        ("ann", None, {ONE: Role.MEMBER, TWO: Role.READER}),
        ("ann", "", {ONE: Role.MEMBER, TWO: Role.READER}),
        ("ann", "readers", {ONE: Role.MEMBER, TWO: Role.READER}),
        ("ann", "others, managers ,readers", {ONE: Role.MANAGER, TWO: Role.READER}),
        ("bob", "readers", {ONE: Role.READER}),
        ("bob", "readers,readers,managers", {ONE: Role.MANAGER}),
        ("bob", "root", {}),  # a user's name is no group, and a group's no user
        ("managers", None, {}),
        ("Ann", None, {}),
        ("nobody", None, {}),
        ("root", None, None),
        ("bob", "readers,cn=ops ü".encode().decode("latin-1"), None),
        ("bob", "cn=ops ü", None),
    ],
)
async def test_memberships_of_a_user_and_of_groups_count_together(
    user: str, groups: str | None, roles: dict[UUID, Role] | None
) -> None:
    lines = [(USER, user)] + ([] if groups is None else [(GROUPS, groups)])
    before = time.monotonic()
    found = await actor(*lines)
    assert (found.name, found.author, found.access) == (user, user, None)
    assert found.roles == roles
    assert found.until is not None
    assert before < found.until <= time.monotonic() + ACCESS_SECONDS


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("ann\xa0", "ann"),
        ("Jürgen Groß", "Jürgen Groß"),
        ("Jürgen Groß".encode().decode("latin-1"), "Jürgen Groß"),
        ("Ju\u0308rgen Groß".encode().decode("latin-1"), "Jürgen Groß"),  # the same letter in two parts
        ("Lovelace, Ada <ada@example.org>", "Lovelace, Ada <ada@example.org>"),
        ("آدا‌".encode().decode("latin-1"), "آدا‌"),
        ("x" * 200, "x" * 200),
        (("é" * 200).encode().decode("latin-1"), "é" * 200),
    ],
)
async def test_name_is_utf_8_or_else_latin_1(sent: str, name: str) -> None:
    assert (await actor((USER, sent))).name == name


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [(USER, "")],
        [(USER, "\xa0")],
        [(USER, "ann"), (USER, "root")],
        [(USER, "ann"), (USER.lower(), "ann")],
        [(USER, "x" * 201)],
        [(USER, "a\tb")],
        [(USER, "a\x85b")],
        [(USER, "a\u2028b".encode().decode("latin-1"))],
        [(USER, "an\u200bn".encode().decode("latin-1"))],
        [(USER, "\u202ennA".encode().decode("latin-1"))],
        [(USER, "ann"), (GROUPS, "readers"), (GROUPS, "managers")],
        [(USER, "ann"), (GROUPS, "readers\x80")],
        [(GROUPS, "managers")],
        [("Remote-User", "ann")],
        [("X_Forwarded_User", "ann")],
        [("Authorization", "Bearer ann")],
    ],
)
async def test_headers_that_name_nobody_let_nobody_in(lines: list[tuple[str, str]]) -> None:
    """Other control characters never come here: Tornado refuses such a request with 400."""
    with pytest.raises(NotSignedInError):
        await actor(*lines)


async def test_header_is_worth_nothing_from_others_than_trusted_proxies() -> None:
    assert (await actor((USER, "root"), peer="10.1.2.3")).is_administrator
    for peer in ("127.0.0.1", "::1", "192.0.2.1", ""):
        for forwarded in ([], [("X-Forwarded-For", "10.1.2.3")]):
            with pytest.raises(NotSignedInError):
                await actor((USER, "root"), *forwarded, peer=peer)
    without_unix = SETTINGS.model_copy(update={"trusted_proxies": SETTINGS.trusted_proxies[:1]})
    with pytest.raises(NotSignedInError):
        await actor((USER, "root"), settings=without_unix)


async def test_settings_name_the_headers() -> None:
    settings = SETTINGS.model_copy(update={"user_header": "Remote-User", "groups_header": "Remote-Groups"})
    assert (await actor(("remote-user", "bob"), ("remote-groups", "readers"), settings=settings)).roles == {
        ONE: Role.READER
    }


@pytest.mark.parametrize(("missing", "named"), [("trusted_proxies", "trusted_proxies"), ("memberships", "memberships")])
def test_mode_without_a_proxy_or_members_is_refused_in_one_line(missing: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        ProxySignIn(SETTINGS.model_copy(update={missing: ()}))
    assert "\n" not in caught.value.message
