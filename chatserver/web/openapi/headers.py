"""The headers that clients send and get, as the description of the API has them."""

from __future__ import annotations

from chatserver.web.http.base_handler import IDEMPOTENCY_KEY as KEY_PATTERN
from chatserver.web.openapi.operations import Header

LAST_EVENT_ID = Header(
    "Last-Event-ID",
    "The id of the last event that the client has: the stream goes on right after it. A browser's EventSource sends it "
    "by itself when it reconnects. With it the response is never 409, 429 or 503, but a stream that says when to come "
    "back, and ends.",
    {"type": "string", "minLength": 1},
)
IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "A key that the client chooses, so that it can send the request again when no response came: the same key and "
    "body again give the first result. A key belongs to its conversation and route, and holds for a day at least.",
    {"type": "string", "pattern": f"^{KEY_PATTERN.pattern}$"},
)
TRIGGER_MESSAGE_ID = Header(
    "X-Trigger-Message-Id",
    "The id of the user message that was added; `GET …/stream?triggerMessageId=` with it goes on where this stream was "
    "cut.",
    {"type": "string", "format": "uuid"},
    required=True,
)
CONTENT_DISPOSITION = Header(
    "Content-Disposition",
    "The name of the file, after the conversation's title (RFC 6266).",
    {"type": "string"},
    required=True,
)
REQUEST_ID = Header(
    "X-Request-Id",
    "Names the request, in the server's log, too; the client's own where it sent one of up to 64 letters, digits, "
    "`.`, `_` and `-`.",
    {"type": "string", "minLength": 1},
    required=True,
)
RETRY_AFTER = Header("Retry-After", "How many seconds to wait.", {"type": "integer", "minimum": 0}, required=True)
WWW_AUTHENTICATE = Header("WWW-Authenticate", "How to sign in.", {"type": "string"}, required=True)

KEY_USED_OTHERWISE = "The Idempotency-Key was used for another body."
