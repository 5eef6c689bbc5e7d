"""What Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The service in numbers, in a registry of its own.

    Args:
        health: numbers of now by name, asked whenever they are read.
    """

    def __init__(self, health: Callable[[], Mapping[str, Any]]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "styleatlas_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "styleatlas_request_seconds",
            "How long an answer took.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Now(health))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """An answer that was given; what a client may call as it likes counts as one: paths that no
        route has, methods that nobody knows."""
        known = method if route != "-" and method in _METHODS else "-"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus's text format, 0.0.4."""
        return generate_latest(self._registry)


class _Now(Collector):
    def __init__(self, health: Callable[[], Mapping[str, Any]]) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        health = self._health()
        for name, value in health.items():
            if isinstance(value, int | float):
                yield GaugeMetricFamily(
                    f"styleatlas_{name}", f"The service's {name}, now.", value=value
                )
        happened = CounterMetricFamily(
            "styleatlas_happened", "What happened to jobs and workers.", labels=("what",)
        )
        for what, count in health.get("counts", {}).items():
            happened.add_metric((what,), count)
        yield happened
