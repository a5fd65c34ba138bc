"""The adapter of a loss with weights for each class."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from metricforge_pml.index_tuples import IndexTuple
from metricforge_pml.pml_loss import PMLLoss


class PMLProxyLoss(PMLLoss):
    """A loss that compares samples with proxies, so that a batch of one class is as good as any other.

    Tuples only weigh the samples, by how often each is in them. Where a miner found none, the loss is zero here, while
    in pytorch-metric-learning all samples then weigh the same.

    Raises:
        ValueError: as ``PMLLoss``, and for a label outside 0..num_classes-1. That is checked on the CPU only: reading
            labels on a GPU would stop it at every step.
    """

    compares_samples = False

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.num_classes: int = arguments["num_classes"]

    def call(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None) -> Tensor:
        if labels.device.type == "cpu":
            outside = labels[(labels < 0) | (labels >= self.num_classes)]
            if len(outside):
                raise ValueError(
                    f"label {int(outside[0])} is outside 0..{self.num_classes - 1} (num_classes={self.num_classes}); "
                    "leave num_classes out of the config and it is filled in, or number the classes from 0 on"
                )
        return super().call(embeddings, labels, indices)
