"""Keeps losses on the device until a whole interval of them is read in one transfer; refuses NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from metricforge.engine.records.nan_guard import refuse_non_finite

GRADIENT = "the largest gradient"
Gradients = list[float | None]  # the largest of each update; None: there was none


class LossLedger:
    """Collects each iteration's losses; ``read`` fetches them together and refuses those that are not finite.

    mmengine's way, one ``.item()`` per scalar and iteration, makes a GPU wait in every step, and does not stop a run
    whose loss is NaN. The sample ids are kept with the losses, so that the batch at fault can be named later.

    Args:
        gather: gives the value of each process that has the gradients of other rows than this one on all of them; all
            read at once, and the largest gradient is that of all rows.
    """

    def __init__(self, gather: Callable[[Gradients], list[Gradients]] = lambda own: [own]) -> None:
        self._gather = gather
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
        scalars = [{name: next(values) for name in losses} for *_, losses in rows]
        of_all = self._gather([read.get(GRADIENT) for read in scalars])
        for (epoch, iteration, ids, _), read, *gradients in zip(rows, scalars, *of_all, strict=True):
            known = [gradient for gradient in gradients if gradient is not None]
            if known:
                read[GRADIENT] = math.nan if any(map(math.isnan, known)) else max(known)
            refuse_non_finite(epoch, iteration, ids, read)
            read.pop(GRADIENT, None)
            for name, value in read.items():
                self._read.setdefault(name, []).append(value)

    def read(self) -> dict[str, float]:
        """Return the mean of every scalar since the last reading, after ``check``; empty if there is none."""
        self.check()
        read, self._read = self._read, {}
        return {name: sum(values) / len(values) for name, values in read.items()}
