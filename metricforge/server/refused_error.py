"""A request that is not answered, and why."""

from __future__ import annotations

from collections.abc import Mapping

from metricforge.errors import MetricForgeError


class RefusedError(MetricForgeError):
    """A request that is refused.

    Args:
        status: of HTTP, 4xx or 503.
        reason: what is wrong with it and what is allowed, for the client.
        headers: of the answer, such as ``Retry-After``.
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


def busy(reason: str, seconds: int = 1) -> RefusedError:
    """Status 503, with the seconds after which another attempt makes sense."""
    return RefusedError(503, reason, {"Retry-After": str(seconds)})
