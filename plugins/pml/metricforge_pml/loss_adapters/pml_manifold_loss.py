"""The adapter of ManifoldLoss."""

from __future__ import annotations

from torch import Tensor

from metricforge_pml.index_tuples import IndexTuple
from metricforge_pml.pml_loss import PMLLoss


class PMLManifoldLoss(PMLLoss):
    """A loss without labels: pytorch-metric-learning assigns each sample one of ``K`` proxies at random, every step.

    Raises:
        ValueError: as ``PMLLoss``, and for a batch of fewer samples than proxies.
    """

    accepts = ()
    compares_samples = False

    def call(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None) -> Tensor:
        if len(embeddings) < self.wrapped.K:
            raise ValueError(
                f"K ({self.wrapped.K}) proxies need a batch of at least as many samples, got {len(embeddings)}; "
                "make K smaller or the batch larger"
            )
        return self.wrapped(embeddings)
