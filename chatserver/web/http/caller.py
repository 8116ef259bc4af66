"""Where a request comes from, as far as somebody asks for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

from chatserver.settings_types import TrustedPeer
from chatserver.web.http.client_address import client_address, counted_address, is_in, is_this_machine
from chatserver.web.http.origins import request_scheme

# What proxies say of whom they forward for. A request that bears one of these was not sent from here.
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "Via")


class RequestCaller:
    """The sender of one request: `services.access.Caller`, worked out when it is asked for."""

    def __init__(self, peer: str, protocol: str, headers: Mapping[str, str], trusted: Collection[TrustedPeer]) -> None:
        """`protocol`: that of the connection, http or https."""
        self.peer = peer
        self.is_other_page = False
        """Whether it is a page of another site, one of `allowed_origins`."""
        self._protocol = protocol
        self._headers = headers
        self._trusted = trusted

    @cached_property
    def client(self) -> str:
        """The address of the client: the peer's, or the one that trusted proxies tell."""
        forwarded_for = self._headers.get("X-Forwarded-For", "") if self._trusted else ""
        return client_address(self.peer, forwarded_for, self._trusted)

    @property
    def is_proxy(self) -> bool:
        """Whether the other end of the connection is a trusted proxy."""
        return is_in(self.peer, self._trusted)

    @cached_property
    def scheme(self) -> str:
        """The scheme that the client used: http or https."""
        if not self._trusted:
            return self._protocol
        return request_scheme(self._protocol, self.peer, self._headers, self._trusted)

    @property
    def is_secure(self) -> bool:
        """Whether the client's connection is TLS."""
        return self.scheme == "https"

    @property
    def address(self) -> str:
        """`client`, as clients are counted."""
        return counted_address(self.client)

    @property
    def is_operators(self) -> bool:
        """Whether the client is on this machine, or a trusted proxy itself, and nobody else stands behind it."""
        if self.client == self.peer and any(name in self._headers for name in _FORWARDED):
            return False
        return is_in(self.client, self._trusted) or (self.client == self.peer and is_this_machine(self.peer))
