"""Scores as whole numbers of which no two in a row are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

LOW_BITS = 2**32 - 1

HalfBits = np.ndarray[Any, np.dtype[np.int16]]


def ordered_bits(scores: Tensor) -> Tensor:
    """Integers (N, ...) int64 of 32 bits that rank as float32 ``scores`` do."""
    bits = (scores + 0.0).view(torch.int32)  # adding 0 makes -0 and 0 the same
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()


def ordered_keys(scores: Tensor, first_column: int = 0) -> Tensor:
    """Integers (b, m) that rank as float32 ``scores`` (b, m) of columns ``first_column`` on do, ties by column."""
    columns = torch.arange(first_column, first_column + scores.shape[1], device=scores.device)
    return ordered_bits(scores) * (LOW_BITS + 1) + (LOW_BITS - columns)


def order_half_bits(scores: Tensor) -> HalfBits:
    """Turns bfloat16 ``scores`` (N, ...) on the host, in place, into int16 that rank as they do, -1 for minus zero."""
    bits: HalfBits = scores.view(torch.int16).numpy()
    bits ^= np.right_shift(bits, 15) & 0x7FFF  # those of negative numbers are in the reverse order
    return bits


def scores_of_half_bits(bits: HalfBits) -> Tensor:
    """The float32 scores (N, ...) that ``order_half_bits`` made ``bits`` (N, ...) of."""
    return torch.from_numpy(bits ^ (np.right_shift(bits, 15) & 0x7FFF)).view(torch.bfloat16).float()


def least_half_bits(scores: Tensor) -> HalfBits:
    """The least int16 (N,) that ``order_half_bits`` gives for ``scores`` (N,), which bfloat16 can hold."""
    bits = order_half_bits(scores.bfloat16())
    return np.where(bits == 0, np.int16(-1), bits)


def largest_half_bits(scores: Tensor) -> HalfBits:
    """The largest int16 (N,) that ``order_half_bits`` gives for ``scores`` (N,), which bfloat16 can hold."""
    bits = order_half_bits(scores.bfloat16())
    return np.where(bits == -1, np.int16(0), bits)
