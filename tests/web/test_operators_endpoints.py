"""`/metrics`, `/readyz` and `/api/openapi.json` are the operator's in each mode; `/healthz` is everybody's."""

from __future__ import annotations

from tests.kit.http_client import COMPANY
from tests.kit.served_app import serving
from tests.kit.tokens import make_token, revoke
from tests.web.test_proxy_mode import LOOPBACK, OPERATORS, PROXY, status, user

FROM_OUTSIDE = {"X-Forwarded-For": "198.51.100.7"}


async def test_proxy_that_names_a_user_is_not_the_operator(module_database_url: str) -> None:
    async with serving(module_database_url, **PROXY) as server:
        for headers, expected in (
            ({}, 200),  # this machine, or the proxy's own probe
            (FROM_OUTSIDE, 401),
            ({"X-Forwarded-For": "127.0.0.1"}, 401),
            (user("ann"), 403),  # on whose behalf the proxy asks, even if it does not say from where
            (user("ann", **FROM_OUTSIDE), 403),
            (user("nobody", **FROM_OUTSIDE), 403),
            (user(""), 401),
            (user("root"), 200),
            (user("root", **FROM_OUTSIDE), 200),
        ):
            for path in OPERATORS:
                assert await status(server, path, headers) == expected, (path, headers)
                assert await status(server, path, headers, "HEAD") == expected, (path, headers)
            assert await status(server, "/healthz", headers) == 200
            assert await status(server, "/", headers) == 200
    async with serving(module_database_url, **{**PROXY, "trusted_proxies": ("10.0.0.0/8",)}) as server:
        for path in OPERATORS:
            assert await status(server, path, {}) == 200
            assert await status(server, path, FROM_OUTSIDE) == 401
            # An untrusted peer's headers: it gets no further with them than without.
            assert await status(server, path, user("root", **FROM_OUTSIDE)) == 401


async def test_operators_endpoints_are_everybodys_in_local_trusted(module_database_url: str) -> None:
    async with serving(module_database_url, trusted_proxies=LOOPBACK) as server:
        for path in OPERATORS:
            for headers in ({}, FROM_OUTSIDE, user("ann")):
                assert await status(server, path, headers) == 200


async def test_administrators_from_outside_see_them_and_members_do_not(database_url: str) -> None:
    admin, member = make_token(database_url, None), make_token(database_url, COMPANY, "manager")
    revoked = make_token(database_url, None)
    revoke(database_url, revoked)
    async with serving(database_url, auth="authenticated", trusted_proxies=LOOPBACK) as server:
        for headers, expected in (
            ({}, 200),
            (FROM_OUTSIDE, 401),
            ({**FROM_OUTSIDE, **admin.bearer}, 200),
            ({**FROM_OUTSIDE, **member.bearer}, 403),
            ({**FROM_OUTSIDE, **revoked.bearer}, 401),
            (revoked.bearer, 401),  # a bad credential is refused, wherever it comes from
            (member.bearer, 200),
            # The header of the other mode means nothing here.
            (user("root", **FROM_OUTSIDE), 401),
        ):
            for path in OPERATORS:
                assert await status(server, path, headers) == expected, (path, headers)
            assert await status(server, "/healthz", headers) == 200
        for path in OPERATORS:
            assert await status(server, path, {"Host": "evil.example"}) == 403
    async with serving(database_url, auth="authenticated") as server:
        for path in OPERATORS:
            assert await status(server, path, {}) == 200
            for headers in (
                FROM_OUTSIDE,
                {"Forwarded": "for=127.0.0.1"},
                {"Via": "1.1 proxy"},
                {"X-Real-IP": "127.0.0.1"},
            ):
                assert await status(server, path, headers) == 401, (path, headers)
