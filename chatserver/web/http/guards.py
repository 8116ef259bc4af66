"""Which requests are refused in every mode, by their headers alone, before anything else is looked at."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

from chatserver.errors import ForbiddenError
from chatserver.services.access import API
from chatserver.settings_types import is_loopback
from chatserver.web.http.origins import Host, origin_of, parse_host, parse_origin, parse_origins

# What browsers send in Sec-Fetch-Site for a request of the server's own pages, and for one that the user typed.
_OWN_SITES = frozenset({"same-origin", "none"})

# A name has 253 characters at most (RFC 1035, section 2.3.4); a port and brackets come on top.
_LONGEST_HOST = 300
_REMEMBERED_HOSTS = 256


def under_api(path: str) -> bool:
    """Whether a path belongs to the API."""
    return path == API or path.startswith(f"{API}/")


class Guards:
    """Refuses what pages of other sites send through a browser that can reach this server.

    A page whose name was made to resolve to this server (DNS rebinding) is known by its `Host`, another site's request
    by its `Origin` or, if the browser sends none, by `Sec-Fetch-Site` (W3C Fetch Metadata). Another server on the same
    host, on another port, is another site. A GET of a stream starts an answer, so nobody may be led to one by a link:
    it is refused as a navigation.
    """

    def __init__(self, *, allowed_hosts: Collection[str] = (), allowed_origins: Collection[str] = ()) -> None:
        """Both as `Settings` normalises them. Loopback names are always allowed hosts."""
        self._allowed_hosts = frozenset(allowed_hosts)
        self.allowed_origins = parse_origins(allowed_origins)
        # Clients name the same few hosts again and again.
        self._host = lru_cache(_REMEMBERED_HOSTS)(self._parse_host)

    def check(self, path: str, headers: Mapping[str, str], scheme: str) -> None:
        """Raises ForbiddenError. `headers` are case-insensitive; `scheme` is the one that the client used."""
        named = headers.get("Host", "")
        host = self._host(named) if len(named) <= _LONGEST_HOST else None
        if host is None:
            raise ForbiddenError("Host is not a name of this server")
        if not under_api(path):
            return
        if path.endswith("/stream") and "navigate" in headers.get("Sec-Fetch-Mode", "").lower():
            raise ForbiddenError("A stream is not a page")
        site = headers.get("Sec-Fetch-Site")
        site = None if site is None else site.strip().lower()
        if "Origin" in headers:
            origin = parse_origin(headers["Origin"])
            if origin in self.allowed_origins:
                return
            if origin is not None and site == "same-origin":
                # The browser itself has compared the schemes. A proxy that ended the TLS may not tell us of it.
                scheme = origin.scheme
            if origin != origin_of(host, scheme):
                raise ForbiddenError("Origin is another site")
        if site is not None and site not in _OWN_SITES:
            raise ForbiddenError("Sent by another site")

    def is_other_page(self, headers: Mapping[str, str], scheme: str) -> bool:
        """Whether a request is one of another site's page, which `allowed_origins` let pass."""
        if not self.allowed_origins or "Origin" not in headers:
            return False
        named, host = parse_origin(headers["Origin"]), self._host(headers.get("Host", ""))
        return named in self.allowed_origins and host is not None and named != origin_of(host, scheme)

    def _parse_host(self, text: str) -> Host | None:
        """The host that a `Host` header names; None unless it is a name of this server."""
        host = parse_host(text)
        is_ours = host is not None and (is_loopback(host.bare) or host.bare in self._allowed_hosts)
        return host if is_ours else None
