"""The adapter of SmoothAPLoss."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge_pml.index_tuples import IndexTuple
from metricforge_pml.pml_loss import PMLLoss


class PMLSmoothAPLoss(PMLLoss):
    """A loss that wants each class of the batch in one block: the batch is sorted by class before it is called.

    Version 2.9 takes the number of samples a class for the number of classes, so that its value is right only where the
    two are equal (https://github.com/KevinMusgrave/pytorch-metric-learning, losses/smooth_ap.py). Any other batch is
    refused.

    Raises:
        ValueError: as ``PMLLoss``, and for a batch that has not as many samples of each class as classes.
    """

    def call(self, embeddings: Tensor, labels: Tensor, indices: IndexTuple | None) -> Tensor:
        counts = torch.unique(labels, return_counts=True)[1].tolist()
        if set(counts) != {len(counts)}:
            raise ValueError(
                f"pml.SmoothAPLoss needs as many samples of each class as classes, got {len(counts)} classes of "
                f"{min(counts)} to {max(counts)} samples: pytorch-metric-learning computes any other batch wrongly. "
                "Sample K classes x K images, such as dict(type='ClassBalancedBatchSampler', classes_per_batch=8, "
                "samples_per_class=8)"
            )
        order = labels.argsort(stable=True)  # (B,)
        if indices is not None:
            places = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))  # (B,)
            indices = tuple(places[column] for column in indices)
        return super().call(embeddings[order], labels[order], indices)
