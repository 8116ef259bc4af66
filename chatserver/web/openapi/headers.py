"""The headers of requests and responses, for the OpenAPI document."""

from __future__ import annotations

from chatserver.web.http.base_handler import IDEMPOTENCY_KEY as KEY_PATTERN
from chatserver.web.openapi.operations import Header

LAST_EVENT_ID = Header(
    "Last-Event-ID",
    "The id of the last event that the client has: the stream goes on right after it. A browser's EventSource sends it "
    "when it reconnects. With it the response is never 409, 429 or 503: instead the stream says when to reconnect, and "
    "ends.",
    {"type": "string", "minLength": 1},
)
IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "A key that the client chooses. If no response came, the client can send the request again: the same key and body "
    "give the first result. A key belongs to its conversation and route, and is kept for a day at least.",
    {"type": "string", "pattern": f"^{KEY_PATTERN.pattern}$"},
)
TRIGGER_MESSAGE_ID = Header(
    "X-Trigger-Message-Id",
    "The id of the user message that was added. If this stream is cut, go on with `GET …/stream?triggerMessageId=`.",
    {"type": "string", "format": "uuid"},
    required=True,
)
CONTENT_DISPOSITION = Header(
    "Content-Disposition",
    "The file name, made of the conversation's title (RFC 6266).",
    {"type": "string"},
    required=True,
)
REQUEST_ID = Header(
    "X-Request-Id",
    "The id of the request, also in the server's log. It is the client's own if it has up to 64 letters, digits, `.`, "
    "`_` and `-`.",
    {"type": "string", "minLength": 1},
    required=True,
)
RETRY_AFTER = Header("Retry-After", "How many seconds to wait.", {"type": "integer", "minimum": 0}, required=True)
WWW_AUTHENTICATE = Header("WWW-Authenticate", "How to sign in.", {"type": "string"}, required=True)

KEY_USED_OTHERWISE = "The Idempotency-Key was used with another body."
