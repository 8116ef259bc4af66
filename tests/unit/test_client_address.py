"""Who a request comes from, behind proxies; and whether it is the operator."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from tornado.httputil import HTTPHeaders

from chatserver.web.http.caller import RequestCaller
from chatserver.web.http.client_address import client_address

TRUSTED = (ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "1.1.1.1, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("::1", "2001:DB8::7", "2001:db8::7"),
        ("::1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7, nonsense", "127.0.0.1"),
        ("unix", "198.51.100.7", "unix"),
        ("127.0.0.1", "unix", "127.0.0.1"),
        ("", "198.51.100.7", ""),
    ],
)
def test_only_addresses_from_trusted_proxies_are_used(peer: str, forwarded_for: str, client: str) -> None:
    assert client_address(peer, forwarded_for, TRUSTED) == client


def test_nobody_is_trusted_by_default() -> None:
    assert client_address("127.0.0.1", "198.51.100.7", ()) == "127.0.0.1"


def test_peer_on_the_unix_socket_is_trusted_only_if_the_setting_says_so() -> None:
    for trusted, client in ((("unix",), "198.51.100.7"), (TRUSTED, "unix"), ((*TRUSTED, "unix"), "198.51.100.7")):
        assert client_address("unix", "198.51.100.7", trusted) == client
        assert RequestCaller("unix", "http", HTTPHeaders(), trusted).is_proxy == ("unix" in trusted)
    # A text that a client sends is never the socket.
    assert client_address("127.0.0.1", "unix", (*TRUSTED, "unix")) == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "headers", "is_operators"),
    [
        ("127.0.0.1", {}, True),
        ("127.9.9.9", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("unix", {}, True),
        ("10.1.2.3", {}, True),  # a trusted proxy
        ("192.0.2.1", {}, False),
        ("192.0.2.1", {"X-Forwarded-For": "127.0.0.1"}, False),
        ("192.0.2.1", {"X-Forwarded-For": "10.1.2.3"}, False),
        ("", {}, False),
        # A proxy on this machine, trusted or not, forwards for somebody.
        ("127.0.0.1", {"X-Forwarded-For": "198.51.100.7"}, False),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, False),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.2"}, False),
        ("127.0.0.1", {"X-Forwarded-For": ""}, False),
        ("127.0.0.1", {"X-Forwarded-For": "nonsense"}, False),
        ("127.9.9.9", {"X-Forwarded-For": "127.0.0.1"}, False),
        ("unix", {"X-Forwarded-For": "127.0.0.1"}, False),
        *(
            ("127.0.0.1", {name: "x"}, False)
            for name in ("Forwarded", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "Via")
        ),
        ("10.1.2.3", {"X-Forwarded-For": "198.51.100.7"}, False),
        ("10.1.2.3", {"X-Forwarded-For": "198.51.100.7, 10.9.9.9"}, False),
        ("127.0.0.1", {"X-Forwarded-For": "10.9.9.9"}, True),  # another trusted proxy asks, through this one
    ],
)
def test_operator_is_on_this_machine_or_a_trusted_proxy_and_forwards_for_nobody(
    peer: str, headers: dict[str, str], is_operators: bool
) -> None:
    assert RequestCaller(peer, "http", HTTPHeaders(headers), TRUSTED).is_operators is is_operators
