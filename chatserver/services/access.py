"""Who sends a request, which companies they may see, and which requests are refused unseen.

Use cases are handed an `Actor`. An `Authenticator` finds it out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urlsplit
from uuid import UUID

from chatserver.errors import ForbiddenError
from chatserver.settings_types import is_loopback
from chatserver.storage.scope import Companies

API = "/api"

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]*:[0-9a-f:.]*\]|[a-z0-9_.-]+)(?::(?P<port>[0-9]{0,5}))?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Actor:
    """The sender of a request. `companies`: those whose resources exist for the actor; None: all."""

    name: str
    companies: frozenset[UUID] | None

    @property
    def scope(self) -> Companies:
        """`companies`, as the storage takes them."""
        return None if self.companies is None else tuple(self.companies)

    def require_company(self, company_id: UUID) -> None:
        """Raises ForbiddenError for a company that is not the actor's."""
        if self.companies is not None and company_id not in self.companies:
            raise ForbiddenError("Not your company")


def local_actor() -> Actor:
    """Everyone on this machine: the board."""
    return Actor(name="board", companies=None)


class Authenticator(Protocol):
    """Finds out who sent a request. `headers` are a case-insensitive mapping."""

    @property
    def mode(self) -> Literal["local_trusted", "authenticated"]: ...

    def guard(self, path: str, headers: Mapping[str, str]) -> None:
        """Raises ForbiddenError for a request that another site's page sent.

        Called for every path, the page's own files included.
        """

    async def authenticate(self, headers: Mapping[str, str]) -> Actor:
        """The actor whom the request's credentials name. Raises NotSignedInError."""


class LocalTrusted:
    """Trusts everyone who reaches a loopback address, except pages of other sites in a browser on this machine.

    A page whose name was made to resolve to this machine (DNS rebinding) is known by its `Host`, another site's request
    by its `Origin` or, if the browser sends none, by `Sec-Fetch-Site` (W3C Fetch Metadata).
    """

    mode: Literal["local_trusted"] = "local_trusted"

    def __init__(self, *, allowed_hosts: Collection[str] = (), allowed_origins: Collection[str] = ()) -> None:
        """Both as `Settings` normalises them. Loopback names are always allowed hosts."""
        self._allowed_hosts = frozenset(allowed_hosts)
        self._allowed_origins = frozenset(allowed_origins)

    def guard(self, path: str, headers: Mapping[str, str]) -> None:
        host = _parse_host(headers.get("Host", ""))
        if host is None or not (is_loopback(host.name) or host.name in self._allowed_hosts):
            raise ForbiddenError("Host is not a name of this server")
        origin = headers.get("Origin")
        if origin is not None and origin.lower() in self._allowed_origins:
            return
        if origin is not None and not _same_origin(origin, host):
            raise ForbiddenError("Origin is another site")
        under_api = path == API or path.startswith(f"{API}/")
        if under_api and headers.get("Sec-Fetch-Site", "").strip().lower() == "cross-site":
            raise ForbiddenError("Sent by another site")

    async def authenticate(self, headers: Mapping[str, str]) -> Actor:  # noqa: ARG002
        return local_actor()


class _Host(NamedTuple):
    name: str
    """Lower case, without a final dot; an IPv6 address in its shortest form, without brackets."""
    port: int | None


def _parse_host(text: str) -> _Host | None:
    """None if the text is not `name` or `name:port`; user information in front is not allowed."""
    match = _HOST.fullmatch(text.strip().lower())
    if match is None:
        return None
    name, port = match["name"], int(match["port"]) if match["port"] else None
    if not name.startswith("["):
        return _Host(name.removesuffix("."), port)
    try:
        return _Host(str(ipaddress.IPv6Address(name[1:-1])), port)
    except ValueError:
        return None


def _same_origin(origin: str, host: _Host) -> bool:
    """Whether an `Origin` names the host of the request.

    Its scheme only gives the default port: a proxy may have ended the TLS.
    """
    try:
        parts = urlsplit(origin.strip().lower())
    except ValueError:
        return False
    default_port = _DEFAULT_PORTS.get(parts.scheme)
    named = _parse_host(parts.netloc)
    if default_port is None or named is None or parts.path or parts.query or parts.fragment:
        return False
    return (named.name, named.port or default_port) == (host.name, host.port or default_port)
