"""Scores as whole numbers of which no two in a row are the same."""

from __future__ import annotations

import torch
from torch import Tensor

LOW_BITS = 2**32 - 1


def ordered_bits(scores: Tensor) -> Tensor:
    """Integers (N, ...) int64 of 32 bits that rank as float32 ``scores`` do."""
    bits = (scores + 0.0).view(torch.int32)  # adding 0 makes -0 and 0 the same
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()


def ordered_keys(scores: Tensor, first_column: int = 0) -> Tensor:
    """Integers (b, m) that rank as float32 ``scores`` (b, m) of columns ``first_column`` on do, ties by column."""
    columns = torch.arange(first_column, first_column + scores.shape[1], device=scores.device)
    return ordered_bits(scores) * (LOW_BITS + 1) + (LOW_BITS - columns)
