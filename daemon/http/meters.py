"""Figures about the server itself and the queue, in the Prometheus text format."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from daemon.db.history import History
from daemon.lifecycle import JobState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)


disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each, that nobody reads


class Meters:
    """Counts requests. `waiting`: how many requests wait for a job now."""

    def __init__(self, history: History, waiting: Callable[[], int], daemons: Callable[[], int]) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        labels = ("method", "route")
        self._requests = Counter(
            "evald_http_requests", "Requests answered.", (*labels, "code"), registry=self._registry
        )
        self._duration = Histogram(
            "evald_http_request_seconds",
            "From a request's head to the end of its answer.",
            labels,
            buckets=_SECONDS,
            registry=self._registry,
        )
        Gauge("evald_http_waiting", "Requests that wait for a job.", registry=self._registry).set_function(waiting)
        Gauge("evald_daemons", "Daemons at work.", registry=self._registry).set_function(daemons)
        self._registry.register(_Queue(history))

    def count(self, method: str, route: str, code: int, took_s: float) -> None:
        """One request was answered. `route` is the pattern, not the path: paths hold ids."""
        self._requests.labels(method, route, str(code)).inc()
        self._duration.labels(method, route).observe(took_s)

    def exposition(self) -> str:
        """Everything, as Prometheus reads it. Asks the database."""
        return generate_latest(self._registry).decode()


class _Queue(Collector):
    def __init__(self, history: History) -> None:
        self._history = history

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        counts = self._history.counts_by_state()
        family = self._family()
        for state in JobState:
            family.add_metric([str(state)], counts[state])
        yield family

    @staticmethod
    def _family() -> GaugeMetricFamily:
        return GaugeMetricFamily("evald_jobs", "Jobs in the database by state.", labels=["state"])
