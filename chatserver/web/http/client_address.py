"""The address of a client behind the operator's proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(peer: str, forwarded_for: str, trusted_proxies: Collection[Network]) -> str:
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


def is_in(address: str, networks: Collection[Network]) -> bool:
    """Whether an address belongs to one of the networks. False for a text that is no address."""
    parsed = parse_address(address)
    return parsed is not None and any(parsed in network for network in networks)


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
