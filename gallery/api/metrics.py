"""Prometheus metrics for `/metrics`: numbers only, no names."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from gallery.timing import STAGES

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


class Metrics:
    """The metrics of one app. `queue` returns the number of requests running or waiting."""

    def __init__(self, queue: Callable[[], int]) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "gallery_requests", "HTTP requests.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "gallery_request_seconds",
            "Request duration.",
            ["route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._stages = Histogram(
            "gallery_stage_seconds",
            "Duration of each pipeline stage.",
            ["stage"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._decisions = Counter(
            "gallery_decisions", "Query decisions, one per face.", ["outcome"], registry=registry
        )
        self._identities = Gauge("gallery_identities", "Enrolled identities.", registry=registry)
        self._faces = Gauge("gallery_faces", "Enrolled faces.", registry=registry)
        pending = Gauge("gallery_queue", "Photo requests running or waiting.", registry=registry)
        pending.set_function(queue)
        for stage in STAGES:
            self._stages.labels(stage)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_stage(self, name: str, seconds: float) -> None:
        """A listener for gallery.timing."""
        self._stages.labels(name).observe(seconds)

    def count_decision(self, outcome: str) -> None:
        self._decisions.labels(outcome).inc()

    def exposition(self, identities: int, faces: int) -> bytes:
        """Return all metrics in the Prometheus text format."""
        self._identities.set(identities)
        self._faces.set(faces)
        return generate_latest(self._registry)
