"""The adapter of InstanceLoss."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge_pml.index_tuples import IndexTuple
from metricforge_pml.pml_loss import PMLLoss


class PMLInstanceLoss(PMLLoss):
    """A loss that tells every sample of the batch from all others, whatever its label.

    In pytorch-metric-learning 2.9 a sample of the batch's class number c is to be like row c of the batch, which is its
    own image by chance only. Here each row is a class, in the order of the rows, so that row c is the sample itself.
    """

    accepts = ()
    compares_samples = False

    def call(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None) -> Tensor:
        return self.wrapped(embeddings, torch.arange(len(embeddings), device=embeddings.device))
