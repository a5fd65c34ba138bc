"""What Prometheus reads of a server."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Measures:
    """Counters and times of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "metricforge_requests", "Requests by route and status.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "metricforge_request_seconds", "How long requests took.", ["route"], registry=self._registry
        )
        self.batch_images = Histogram(
            "metricforge_batch_images",
            "Images that were embedded together.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self._registry,
        )
        self.in_progress = Gauge(
            "metricforge_requests_in_progress", "Requests that are worked on or wait for it.", registry=self._registry
        )
        self.waiting_images = Gauge(
            "metricforge_waiting_images", "Images that wait to be embedded.", registry=self._registry
        )
        self.index_images = Gauge("metricforge_index_images", "Images of the index.", registry=self._registry)

    def text(self) -> bytes:
        """All of them in the form that Prometheus reads."""
        return generate_latest(self._registry)
