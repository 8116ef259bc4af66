"""The metrics for Prometheus."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from chatserver.metrics import OUTCOMES, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = metrics.render()[0].decode()
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_every_name_has_the_prefix() -> None:
    metrics = Metrics("1.2.3")
    metrics.request("Page", "GET", 200, 0.1)
    assert all(name.startswith("chatserver_") for name, _ in samples(metrics))


def test_content_type_is_prometheus_text() -> None:
    assert Metrics("1.2.3").render()[1].startswith("text/plain; version=")


def test_counted_values_are_exposed() -> None:
    metrics = Metrics("1.2.3")
    metrics.streams.inc()
    metrics.runs.inc(2)
    metrics.tokens.inc()
    metrics.slow_readers.inc()
    metrics.database_errors.inc()
    metrics.first_token_seconds.observe(0.2)
    metrics.database_seconds.observe(0.002)
    metrics.run_ended("done")
    shown = samples(metrics)
    assert shown["chatserver_streams", ()] == 1
    assert shown["chatserver_runs", ()] == 2
    assert shown["chatserver_tokens_total", ()] == 1
    assert shown["chatserver_slow_readers_total", ()] == 1
    assert shown["chatserver_database_errors_total", ()] == 1
    assert shown["chatserver_first_token_seconds_sum", ()] == 0.2
    assert shown["chatserver_database_seconds_sum", ()] == 0.002
    assert shown["chatserver_build_info", (("version", "1.2.3"),)] == 1
    assert {o: shown["chatserver_runs_ended_total", (("outcome", o),)] for o in OUTCOMES} == {
        "done": 1,
        "stopped": 0,
        "error": 0,
        "dropped": 0,
    }


def test_requests_are_counted_by_handler_and_timed_unless_they_are_streams() -> None:
    metrics = Metrics("1.2.3")
    for _ in range(2):
        metrics.request("Messages", "GET", 200, 0.25)
    metrics.request("Stream", "GET", 200, None)
    shown = samples(metrics)
    labels = (("handler", "Messages"), ("method", "GET"), ("status", "200"))
    assert shown["chatserver_requests_total", labels] == 2
    assert shown["chatserver_request_seconds_sum", (("handler", "Messages"),)] == 0.5
    assert shown["chatserver_requests_total", (("handler", "Stream"), ("method", "GET"), ("status", "200"))] == 1
    assert ("chatserver_request_seconds_sum", (("handler", "Stream"),)) not in shown


def test_unknown_methods_share_one_series() -> None:
    metrics = Metrics("1.2.3")
    metrics.request("Page", "BREW", 405, 0)
    metrics.request("Page", "WHEN", 405, 0)
    labels = (("handler", "Page"), ("method", "other"), ("status", "405"))
    assert samples(metrics)["chatserver_requests_total", labels] == 2


def test_two_metrics_objects_are_independent() -> None:
    one, two = Metrics("1"), Metrics("2")
    one.tokens.inc()
    assert samples(two)["chatserver_tokens_total", ()] == 0
