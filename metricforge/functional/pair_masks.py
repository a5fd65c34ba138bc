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


def positive_pairs(labels: Tensor, *, both_ways: bool = False) -> tuple[Tensor, Tensor]:
    """Rows ``i < j`` of every positive pair of ``labels`` (B,), as two columns (P,) in row order.

    With ``both_ways`` each stands there as (j, i) too. Takes O(B log B + P), no B x B mask.
    """
    ordered, rows = labels.sort(stable=True)  # (B,) each
    starts = torch.searchsorted(ordered, labels)
    sizes = torch.searchsorted(ordered, labels, right=True) - starts  # of each row's class
    first = torch.repeat_interleave(sizes)  # each row once for each of its class, itself included
    places = (
        (starts - sizes.cumsum(0) + sizes).index_select(0, first).add_(torch.arange(len(first), device=labels.device))
    )
    second = rows.index_select(0, places)
    kept = first != second if both_ways else first < second
    return first.masked_select(kept), second.masked_select(kept)
