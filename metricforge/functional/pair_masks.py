"""Which pairs of a batch are positive (same class, another image) and which negative (another class)."""

from __future__ import annotations

import torch
from torch import Tensor


def positive_mask(labels: Tensor) -> Tensor:
    """(B, B) bool from ``labels`` (B,): same class, and not the sample itself."""
    same = labels[:, None] == labels[None, :]
    return same.fill_diagonal_(False)


def negative_mask(labels: Tensor) -> Tensor:
    """(B, B) bool from ``labels`` (B,): another class."""
    return labels[:, None] != labels[None, :]


def has_positive_and_negative(labels: Tensor) -> Tensor:
    """Whether (() bool) ``labels`` (B,) have a positive pair and a negative one, in O(B log B)."""
    ordered = labels.sort().values  # (B,)
    same = ordered[1:] == ordered[:-1]
    return same.any() & ~same.all()


def positive_pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows ``i < j`` of every positive pair of ``labels`` (B,), as two columns (P,) in row order."""
    first, second = torch.nonzero(positive_mask(labels).triu(), as_tuple=True)
    return first, second
