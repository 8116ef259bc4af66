"""The metrics of a process for Prometheus, as one object that is built once and handed in.

Names begin with `chatserver_`. Requests are labelled by handler, not by path: so the number of series is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from chatserver import logs
from chatserver.errors import BOUNDS, Bound

Outcome = Literal["done", "stopped", "error", "dropped"]
OUTCOMES: tuple[Outcome, ...] = ("done", "stopped", "error", "dropped")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_HOP_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_FIRST_TOKEN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class _LostLines(Collector):
    """Counted where lines are lost, and read when somebody asks."""

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(
            "chatserver_log_lines_lost", "Lines of the log that standard error did not take.", value=logs.lost_lines()
        )


class Tally(Collector):
    """A counter for one thread: it has no lock, and costs much less."""

    def __init__(self, name: str, documentation: str, *, registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._value = 0
        registry.register(self)

    def inc(self, amount: int = 1) -> None:
        self._value += amount

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(self._name, self._documentation, value=self._value)


class Metrics:
    """All metrics of one process, in a registry of their own. May be used from any thread, `tokens` by one.

    The public attributes are prometheus-client's own objects without labels, and a Tally: call `inc`, `dec`, `observe`.
    """

    def __init__(self, version: str) -> None:
        registry = self.registry = CollectorRegistry()
        self.streams = Gauge("chatserver_streams", "Open streams of answers and exports.", registry=registry)
        self.connections = Gauge("chatserver_connections", "Open connections of clients.", registry=registry)
        self.connections_refused = Counter(
            "chatserver_connections_refused",
            "Connections refused because their address had too many.",
            registry=registry,
        )
        self.runs = Gauge("chatserver_runs", "Answers that are generated, queued or followed.", registry=registry)
        self.tokens = Tally("chatserver_tokens", "Pieces of answers taken from models.", registry=registry)
        self.first_token_seconds = Histogram(
            "chatserver_first_token_seconds",
            "From the start of an answer to its first piece.",
            buckets=_FIRST_TOKEN_BUCKETS,
            registry=registry,
        )
        self.slow_readers = Counter(
            "chatserver_slow_readers", "Responses cut off because their reader took nothing.", registry=registry
        )
        self.loop_lag_seconds = Histogram(
            "chatserver_loop_lag_seconds",
            "How late a timer of the event loop fired, ten times a second.",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self.database_seconds = Histogram(
            "chatserver_database_seconds",
            "One visit to the database, the wait for a thread included.",
            buckets=_HOP_BUCKETS,
            registry=registry,
        )
        self.database_errors = Counter(
            "chatserver_database_errors", "Visits to the database that failed.", registry=registry
        )
        self.listening = Gauge(
            "chatserver_listening",
            "1: other processes are heard at once; 0: what they do is noticed later.",
            registry=registry,
        )
        self.unrecorded_sign_ins = Counter(
            "chatserver_audit_unrecorded_sign_ins",
            "Failed sign-ins that are not in the audit log, because there were too many.",
            registry=registry,
        )
        # not `chatserver_runs`: the gauge has that name
        ended = Counter(
            "chatserver_runs_ended", "Answers that this process generated, by outcome.", ["outcome"], registry=registry
        )
        self._runs_ended = {outcome: ended.labels(outcome) for outcome in OUTCOMES}
        refusals = Counter(
            "chatserver_refusals",
            "Requests refused with 429, by what bounds them.",
            ["bound"],
            registry=registry,
        )
        self._refusals = {bound: refusals.labels(bound) for bound in BOUNDS}
        self._requests = Counter(
            "chatserver_requests", "Requests served.", ["handler", "method", "status"], registry=registry
        )
        self._request_children: dict[tuple[str, str, int], Counter] = {}
        self._request_seconds = Histogram(
            "chatserver_request_seconds",
            "From a request to the end of its answer, event streams left out.",
            ["handler"],
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self._request_seconds_children: dict[str, Histogram] = {}
        registry.register(_LostLines())
        Info("chatserver_build", "What is running.", registry=registry).info({"version": version})
        ProcessCollector(namespace="chatserver", registry=registry)

    def request(self, handler: str, method: str, status: int, seconds: float | None) -> None:
        """Count a request. `handler` is the name of its class. `seconds` None: its duration says nothing, because
        the reader decides how long a stream lasts."""
        method = method if method in _METHODS else "other"
        key = (handler, method, status)
        counter = self._request_children.get(key)
        if counter is None:
            counter = self._request_children[key] = self._requests.labels(handler, method, str(status))
        counter.inc()
        if seconds is None:
            return
        histogram = self._request_seconds_children.get(handler)
        if histogram is None:
            histogram = self._request_seconds_children[handler] = self._request_seconds.labels(handler)
        histogram.observe(seconds)

    def refused(self, bound: Bound) -> None:
        """Count a request that a bound refused."""
        self._refusals[bound].inc()

    def run_ended(self, outcome: Outcome) -> None:
        """Count an answer that came to its end."""
        self._runs_ended[outcome].inc()

    def render(self) -> tuple[bytes, str]:
        """The metrics in Prometheus's text format, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
