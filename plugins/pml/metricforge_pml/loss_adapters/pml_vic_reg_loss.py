"""The adapter of VICRegLoss."""

from __future__ import annotations

from torch import Tensor

from metricforge import functional
from metricforge_pml.index_tuples import IndexTuple
from metricforge_pml.pml_loss import PMLLoss


class PMLVICRegLoss(PMLLoss):
    """A loss of two views of the same thing, here of two images of the same class: the two ends of the positive pairs.

    Of the pairs or triplets that a miner chose, or without one of all positive pairs of the batch, in both directions.
    """

    def call(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None) -> Tensor:
        if indices is None:
            first, second = functional.positive_mask(labels).nonzero(as_tuple=True)  # (P,)
        else:
            first, second = indices[:2]  # (P,)
        if len(first) < 2:  # one row has no variance
            return (embeddings * 0).sum()
        return self.wrapped(embeddings[first], ref_emb=embeddings[second])
