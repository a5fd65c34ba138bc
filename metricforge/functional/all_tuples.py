"""Every pair, triplet or quadruplet of a batch; their number grows with B^2, B^3 and B^4, so only of a small one."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.functional.pair_masks import negative_mask, positive_mask, positive_pairs
from metricforge.structures import Pairs, Quadruplets, Triplets


def all_pairs(labels: Tensor) -> Pairs:
    """The B(B-1)/2 pairs ``first < second`` of ``labels`` (B,), in row order."""
    first, second = torch.triu_indices(len(labels), len(labels), offset=1, device=labels.device)
    return Pairs(first, second, labels[first] == labels[second])


def all_triplets(labels: Tensor) -> Triplets:
    """Each ordered positive pair of ``labels`` (B,) with each negative of its anchor, in row order."""
    anchor, positive = torch.nonzero(positive_mask(labels), as_tuple=True)  # (P,)
    pair, negative = torch.nonzero(negative_mask(labels)[anchor], as_tuple=True)  # (T,)
    return Triplets(anchor[pair], positive[pair], negative)


def all_quadruplets(labels: Tensor) -> Quadruplets:
    """Each positive pair ``anchor < positive`` of ``labels`` (B,) with each two of its negatives, in row order."""
    anchor, positive = positive_pairs(labels)  # (P,)
    negatives = negative_mask(labels)[anchor]  # (P, B), the same for both ends: they are of one class
    pair, of_anchor, of_positive = torch.nonzero(negatives[:, :, None] & negatives[:, None, :], as_tuple=True)  # (T,)
    return Quadruplets(anchor[pair], positive[pair], of_anchor, of_positive)
