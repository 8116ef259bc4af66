"""The address of a client behind the operator's proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from chatserver.settings_types import UNIX, TrustedPeer


def client_address(peer: str, forwarded_for: str, trusted_proxies: Collection[TrustedPeer]) -> str:
    """The address of the client: the peer's, or one of `X-Forwarded-For` if trusted proxies wrote it.

    Each proxy appends the address of its peer. So the header is read from its end, up to the first address that is not
    a trusted proxy. Anything before that address may be forged.
    """
    address = peer
    for hop in reversed(forwarded_for.split(",")):
        if not is_in(address, trusted_proxies):
            break
        candidate = hop.strip().strip('"').removeprefix("[").partition("]")[0]
        try:
            address = str(ipaddress.ip_address(candidate))
        except ValueError:
            break
    return address


def is_in(address: str, networks: Collection[TrustedPeer]) -> bool:
    """Whether an address belongs to one of the networks, or is `unix` as one of them is. False for any other text."""
    if address == UNIX:
        return UNIX in networks
    parsed = parse_address(address)
    return parsed is not None and any(not isinstance(network, str) and parsed in network for network in networks)


def is_this_machine(address: str) -> bool:
    """Whether it is a loopback address, or `unix`."""
    parsed = parse_address(address)
    return address == UNIX or (parsed is not None and parsed.is_loopback)


def counted_address(address: str) -> str:
    """What stands for a client where clients are counted: for IPv6 a network of 64 bits, since each has a whole one."""
    parsed = parse_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return address if parsed is None else str(parsed)


def parse_address(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IPv4 address that is written as an IPv6 one, as sockets for both give it, counts as IPv4."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed
