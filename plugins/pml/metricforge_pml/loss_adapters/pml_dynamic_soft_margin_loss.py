"""The adapter of DynamicSoftMarginLoss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metricforge_pml.index_tuples import IndexTuple
from metricforge_pml.pml_loss import PMLLoss
from metricforge_pml.references import References


class PMLDynamicSoftMarginLoss(PMLLoss):
    """A loss that keeps a histogram over the batches, here as a buffer: a resumed run goes on with it.

    It is cut off from the graph after each batch, without which the second step cannot be differentiated (2.9), and has
    two bins more, which stay empty but for differences in the last bin: without them these are an error, and duplicate
    embeddings make such.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        histogram = self.wrapped.hist_
        del self.wrapped.hist_
        self.wrapped.register_buffer("hist_", torch.cat([histogram, histogram.new_zeros(2)]))

    def call(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None) -> Tensor:
        total = super().call(embeddings, labels, indices)
        self.wrapped.hist_ = self.wrapped.hist_.detach()
        return total

    def call_with_references(
        self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None, references: References
    ) -> Tensor:
        total = super().call_with_references(embeddings, labels, indices, references)
        self.wrapped.hist_ = self.wrapped.hist_.detach()
        return total
