"""What a server tells about itself at /metrics."""

from __future__ import annotations

import http.client
import re

from scripts.benchmarks.servers import Server

LOOP_LAG = "chatserver_loop_lag_seconds"
_BUCKET = re.compile(LOOP_LAG + r'_bucket\{.*le="(.*?)".*\}')


def read(server: Server) -> dict[str, float]:
    """All samples by name and labels, as they stand in the text."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    samples = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in samples}


def loop_lag_ms(before: dict[str, float], after: dict[str, float]) -> float:
    """The longest time for which the event loop was held up between two readings; NaN if the server does not tell.

    A histogram only tells in which bucket it is. The bucket's upper bound counts, which is infinite for the last one.
    """
    grown = {name: value - before.get(name, 0) for name, value in after.items() if name.startswith(LOOP_LAG)}
    buckets = {float(match[1]): grown[name] for name in grown if (match := _BUCKET.fullmatch(name))}
    if not buckets:
        return after.get(LOOP_LAG, float("nan")) * 1e3
    return min(bound for bound, count in buckets.items() if count == max(buckets.values())) * 1e3
