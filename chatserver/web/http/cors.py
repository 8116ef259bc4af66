"""The headers that let pages of `allowed_origins` read responses (WHATWG Fetch, CORS)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatserver.web.http.origins import Origin, parse_origin

_ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-Id"
_EXPOSED_HEADERS = "Retry-After, X-Request-Id, X-Trigger-Message-Id"
# How long a browser may cache a preflight response; Chromium accepts two hours at most.
_PREFLIGHT_SECONDS = 7_200


def is_allowed_origin(headers: Mapping[str, str], allowed_origins: frozenset[Origin]) -> bool:
    """Whether a request comes from a page of one of these origins."""
    return parse_origin(headers.get("Origin", "")) in allowed_origins


def cors_headers(
    headers: Mapping[str, str], allowed_origins: frozenset[Origin], methods: Sequence[str]
) -> dict[str, str]:
    """The headers to add to the response to a request with these headers. `methods`: those of the path."""
    if not allowed_origins:
        return {}
    if not is_allowed_origin(headers, allowed_origins):
        return {"Vary": "Origin"}
    added = {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": headers["Origin"],
        "Access-Control-Expose-Headers": _EXPOSED_HEADERS,
    }
    # A preflight request: the browser asks before it sends the request itself.
    if "Access-Control-Request-Method" in headers:
        added |= {
            "Access-Control-Allow-Methods": ", ".join(methods),
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
        }
    return added
