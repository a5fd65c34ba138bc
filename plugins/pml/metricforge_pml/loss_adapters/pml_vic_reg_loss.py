"""The adapter of VICRegLoss."""

from __future__ import annotations

from torch import Tensor

from metricforge import functional
from metricforge_pml.index_tuples import IndexTuple
from metricforge_pml.pml_loss import PMLLoss
from metricforge_pml.references import References


class PMLVICRegLoss(PMLLoss):
    """A loss of two views of the same thing, here of two images of the same class: the two ends of the positive pairs.

    Of the pairs or triplets that a miner chose, or without one of all positive pairs of the batch, in both directions;
    with references of all pairs of one class between the batch and them, which are its rows and theirs one by one where
    each class is there once.
    """

    def call(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None) -> Tensor:
        positive = functional.positive_mask(labels).nonzero(as_tuple=True) if indices is None else indices[:2]
        return self.of_views(embeddings, embeddings, *positive)

    def call_with_references(
        self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None, references: References
    ) -> Tensor:
        same = labels[:, None] == references.labels[None, :]  # (B, R)
        positive = same.nonzero(as_tuple=True) if indices is None else indices[:2]
        return self.of_views(embeddings, references.embeddings, *positive)

    def of_views(self, embeddings: Tensor, others: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """The loss of rows ``first`` (P,) of the batch and ``second`` (P,) of ``others``."""
        if len(first) < 2:  # one row has no variance
            return (embeddings * 0).sum()
        return self.wrapped(embeddings[first], ref_emb=others[second])
