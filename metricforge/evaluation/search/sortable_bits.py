"""Scores as integers that rank the same."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Integers16

Bfloat16Bits = Integers16


def sortable_bits(scores: Tensor) -> Tensor:
    """Integers (N, ...) int64 of 32 bits that rank as float32 ``scores`` do."""
    bits = (scores + 0.0).view(torch.int32)  # adding 0 makes -0 and 0 the same
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()


def sortable_bfloat16_bits(scores: Tensor) -> Bfloat16Bits:
    """Turn bfloat16 ``scores`` (N, ...) on the host, in place, into int16 that rank as they do, -1 for minus zero."""
    bits: Bfloat16Bits = scores.view(torch.int16).numpy()
    bits ^= np.right_shift(bits, 15) & 0x7FFF  # those of negative numbers are in the reverse order
    return bits


def scores_of_bfloat16_bits(bits: Bfloat16Bits) -> Tensor:
    """The float32 scores (N, ...) that ``sortable_bfloat16_bits`` made ``bits`` (N, ...) of."""
    return torch.from_numpy(bits ^ (np.right_shift(bits, 15) & 0x7FFF)).view(torch.bfloat16).float()


def least_bfloat16_bits(scores: Tensor) -> Bfloat16Bits:
    """The least int16 (N,) that ``sortable_bfloat16_bits`` gives for ``scores`` (N,), which bfloat16 can hold."""
    bits = sortable_bfloat16_bits(scores.bfloat16())
    return np.where(bits == 0, np.int16(-1), bits)


def largest_bfloat16_bits(scores: Tensor) -> Bfloat16Bits:
    """The largest int16 (N,) that ``sortable_bfloat16_bits`` gives for ``scores`` (N,), which bfloat16 can hold."""
    bits = sortable_bfloat16_bits(scores.bfloat16())
    return np.where(bits == -1, np.int16(0), bits)
