"""The adapter of MultipleLosses: the weighted sum of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from metricforge import LOSSES, MINERS, Registry
from metricforge_pml.index_tuples import IndexTuple
from metricforge_pml.pml_loss import PMLLoss


class _Total(nn.Module):
    """A loss of this package, called as one of pytorch-metric-learning is."""

    def __init__(self, loss: PMLLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None = None) -> Tensor:
        return self.loss.total(embeddings, labels, indices)


class PMLMultipleLosses(PMLLoss):
    """The sum of ``losses`` of this package times ``weights``, each with its own of ``miners`` or with none.

    All three are lists, or dicts with the same keys; a list of miners has None where there is none. Which batches have
    nothing to say, each loss decides for itself.

    Raises:
        ValueError: as ``PMLLoss``, for a loss that is not of this package, or for tuples beside ``miners``.
    """

    nested: ClassVar[Mapping[str, Registry]] = {"losses": LOSSES, "miners": MINERS}
    compares_samples = False

    def __init__(self, losses: Any, **arguments: Any) -> None:
        named = losses.items() if isinstance(losses, dict) else enumerate(losses)
        for name, loss in named:
            if not isinstance(loss, PMLLoss):
                raise ValueError(f'losses[{name!r}] must be one such as "pml.ArcFaceLoss", got {loss!r}')
        totals = (
            {name: _Total(loss) for name, loss in losses.items()}
            if isinstance(losses, dict)
            else [_Total(loss) for loss in losses]
        )
        super().__init__(losses=totals, **arguments)

    def call(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None) -> Tensor:
        if indices is not None and self.wrapped.miners:
            raise ValueError("miners of its own and mined tuples exclude each other; leave the model's miner out")
        return super().call(embeddings, labels, indices)
