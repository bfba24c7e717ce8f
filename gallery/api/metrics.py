"""What `/metrics` tells, for Prometheus: numbers alone, nobody's name."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from gallery.timing import STAGES

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Of one app. queue : how many requests are worked on or wait."""

    def __init__(self, queue: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        kept = self._registry
        self._requests = Counter(
            "gallery_requests", "Requests answered.", ["method", "route", "status"], registry=kept
        )
        self._seconds = Histogram(
            "gallery_request_seconds",
            "From request to answer.",
            ["route"],
            buckets=_SECONDS,
            registry=kept,
        )
        self._stages = Histogram(
            "gallery_stage_seconds",
            "Of each step of the walk.",
            ["stage"],
            buckets=_SECONDS,
            registry=kept,
        )
        self._decisions = Counter(
            "gallery_decisions", "Answers to queries, a face each.", ["outcome"], registry=kept
        )
        self._identities = Gauge("gallery_identities", "Identities in the gallery.", registry=kept)
        self._faces = Gauge("gallery_faces", "Faces in the gallery.", registry=kept)
        waiting = Gauge("gallery_queue", "Requests that are worked on or wait.", registry=kept)
        waiting.set_function(queue)
        for stage in STAGES:
            self._stages.labels(stage)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One that was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def stage(self, name: str, seconds: float) -> None:
        """One step of the walk; see gallery.timing."""
        self._stages.labels(name).observe(seconds)

    def decision(self, outcome: str) -> None:
        """One answer."""
        self._decisions.labels(outcome).inc()

    def page(self, identities: int, faces: int) -> bytes:
        """In Prometheus' text format."""
        self._identities.set(identities)
        self._faces.set(faces)
        return generate_latest(self._registry)
