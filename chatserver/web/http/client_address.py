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
        if not _is_in(address, trusted_proxies):
            break
        candidate = hop.strip().strip('"').removeprefix("[").partition("]")[0]
        try:
            address = str(ipaddress.ip_address(candidate))
        except ValueError:
            break
    return address


def _is_in(address: str, networks: Collection[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
