"""The small batches that the checks feed to a component: an ordinary one, and those that break careless code."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.functional.distances import l2_normalize

Batch = tuple[Tensor, Tensor]


def random_rows(count: int, dim: int, seed: int = 0) -> Tensor:
    """Rows (count, dim) of length 1, the same for the same seed; the global generator is left alone."""
    return l2_normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)))


def ordinary_batch(dim: int, num_classes: int) -> Batch:
    """Three samples of each class, the classes interleaved."""
    labels = torch.arange(num_classes).repeat(3)
    return random_rows(len(labels), dim), labels


def batches_with_duplicates(dim: int, num_classes: int) -> dict[str, Batch]:
    """Ordinary labels, some or all of whose embeddings are the same."""
    embeddings, labels = ordinary_batch(dim, num_classes)
    some = embeddings.clone()
    some[num_classes] = some[0]  # a positive pair
    some[num_classes - 1] = some[0]  # a negative pair
    return {
        "a batch with duplicate embeddings": (some, labels),
        "a batch of one embedding repeated": (embeddings[:1].expand_as(embeddings).clone(), labels),
    }


def batches_without_pairs(dim: int, num_classes: int) -> dict[str, Batch]:
    """Batches that have no negative pair, no positive pair, or neither."""
    return {
        "a batch of one class": (random_rows(4, dim), torch.zeros(4, dtype=torch.int64)),
        "a batch of all different classes": (random_rows(num_classes, dim), torch.arange(num_classes)),
        "a batch of one sample": (random_rows(1, dim), torch.zeros(1, dtype=torch.int64)),
    }
