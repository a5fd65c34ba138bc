"""Keeps losses on the device until a whole interval of them is read in one transfer; refuses NaN and infinity."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from metricforge.engine.records.nan_guard import refuse_non_finite

GRADIENT = "the largest gradient"


class LossLedger:
    """Collects each iteration's losses; ``read`` fetches them together and refuses those that are not finite.

    mmengine's way, one ``.item()`` per scalar and iteration, makes a GPU wait in every step, and does not stop a run
    whose loss is NaN. The sample ids are kept with the losses, so that the batch at fault can be named later.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, Tensor, dict[str, Tensor]]] = []
        self._read: dict[str, list[float]] = {}

    def add(self, epoch: int, iteration: int, ids: Tensor, losses: Mapping[str, Tensor]) -> None:
        """Record the detached scalars ``losses`` (``loss`` among them) of the batch of samples ``ids`` (B,)."""
        self._rows.append((epoch, iteration, ids, dict(losses)))

    def note_gradient(self, largest: Tensor | None) -> None:
        """Add the ``largest`` magnitude in the gradients of the batch added last; it must be finite as well."""
        if largest is not None and self._rows:
            self._rows[-1][3][GRADIENT] = largest

    def check(self) -> None:
        """Fetch what was added since the last fetch.

        Raises:
            NonFiniteLossError: names the first iteration whose ``loss`` or gradient is NaN or infinite, and its batch.
        """
        rows, self._rows = self._rows, []
        if not rows:
            return
        flat = torch.stack([value.float() for *_, losses in rows for value in losses.values()]).tolist()
        values = iter(flat)
        for epoch, iteration, ids, losses in rows:
            read = {name: next(values) for name in losses}
            refuse_non_finite(epoch, iteration, ids, read)
            read.pop(GRADIENT, None)
            for name, value in read.items():
                self._read.setdefault(name, []).append(value)

    def read(self) -> dict[str, float]:
        """Return the mean of every scalar since the last reading, after ``check``; empty if there is none."""
        self.check()
        read, self._read = self._read, {}
        return {name: sum(values) / len(values) for name, values in read.items()}
