"""Hosts and origins as requests name them (RFC 9110, section 7.2; RFC 6454). No I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import NamedTuple

from chatserver.settings_types import TrustedPeer
from chatserver.web.http.client_address import is_in

_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]*:[0-9a-f:.]*\]|[a-z0-9_.-]+)(?::(?P<port>[0-9]{0,5}))?", re.ASCII)
# A name has 253 characters at most (RFC 1035, section 2.3.4); scheme and port come on top.
_LONGEST_ORIGIN = 300
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Host(NamedTuple):
    """The value of a `Host` header."""

    name: str
    """Lower case; an IPv6 address in its shortest form, without brackets. A final dot is kept."""
    port: int | None

    @property
    def bare(self) -> str:
        """The name without a final dot, as settings hold it: both forms name the same host."""
        return self.name.removesuffix(".")


class Origin(NamedTuple):
    """An origin: its port is always a number, the default one of the scheme if none was given."""

    scheme: str
    name: str
    port: int


def parse_host(text: str) -> Host | None:
    """None if the text is not `name` or `name:port`; user information in front is not allowed."""
    match = _AUTHORITY.fullmatch(text.strip().lower())
    if match is None:
        return None
    name, port = match["name"], int(match["port"]) if match["port"] else None
    if name.startswith("["):
        try:
            name = str(ipaddress.IPv6Address(name[1:-1]))
        except ValueError:
            return None
    return Host(name, port)


def parse_origin(text: str) -> Origin | None:
    """None if the text is not `scheme://host` or `scheme://host:port` of HTTP: also for `null`, and for several."""
    return _parse_origin(text) if len(text) <= _LONGEST_ORIGIN else None


@lru_cache(256)  # browsers send the same few again and again
def _parse_origin(text: str) -> Origin | None:
    scheme, separator, authority = text.strip().lower().partition("://")
    host = parse_host(authority)
    if not separator or scheme not in _DEFAULT_PORTS or host is None:
        return None
    return origin_of(host, scheme)


def parse_origins(texts: Collection[str]) -> frozenset[Origin]:
    """The origins of a setting, whose texts are valid."""
    return frozenset(origin for text in texts if (origin := parse_origin(text)) is not None)


def origin_of(host: Host, scheme: str) -> Origin:
    """The origin of a request to a host. `scheme`: http or https."""
    return Origin(scheme, host.name, host.port or _DEFAULT_PORTS[scheme])


def request_scheme(scheme: str, peer: str, headers: Mapping[str, str], trusted_proxies: Collection[TrustedPeer]) -> str:
    """The scheme that the client used: the connection's own, or `X-Forwarded-Proto` if a trusted proxy wrote it.

    If there are several values, the last one counts, which the nearest proxy added.
    """
    if trusted_proxies and is_in(peer, trusted_proxies):
        forwarded = headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
        if forwarded in _DEFAULT_PORTS:
            return forwarded
    return scheme
