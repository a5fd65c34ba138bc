"""How long the device waits for images."""

from __future__ import annotations

import time

import torch


class LoaderWatch:
    """Measures the share of the time that no batch is there for a device that has nothing else to do.

    A GPU works on while this process waits for the next batch, so that only a wait at whose end it has finished
    counts. The first batch of an epoch, for which workers start, does not count.

    Args:
        device: what trains.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._began = 0.0
        self._ended: float | None = None
        self._done: torch.cuda.Event | None = None
        self._waited = self._elapsed = 0.0

    def begin_epoch(self) -> None:
        """Leave the time until the next batch out."""
        self._ended = None

    def begin_update(self) -> None:
        """Note that the next batch has come, and the work on it begins."""
        self._began = time.perf_counter()
        if self._ended is None:
            return
        waited = self._began - self._ended
        self._elapsed += waited
        if self._done is None or self._done.query():  # type: ignore[no-untyped-call]
            self._waited += waited

    def end_update(self) -> None:
        """Note that its work has ended, or on a GPU that it has been asked for."""
        self._ended = time.perf_counter()
        self._elapsed += self._ended - self._began
        if self._device.type == "cuda":
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record()

    def seconds_since_batch(self) -> float:
        """How long the work on the present batch has taken so far."""
        return time.perf_counter() - self._began

    def take(self) -> float | None:
        """The share since the last call, 0..1; None if nothing was measured."""
        share = self._waited / self._elapsed if self._elapsed else None
        self._waited = self._elapsed = 0.0
        return share
