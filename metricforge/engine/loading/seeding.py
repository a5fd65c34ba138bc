"""Derives every random number of a run from (seed, epoch, iteration, sample), so that a resume is exact."""

from __future__ import annotations

import random

import numpy as np
import torch
from numpy.typing import NDArray


def derive_seed(*parts: int) -> int:
    """Derive a 63-bit seed from non-negative integers such as (seed, epoch, iteration), independent for each tuple."""
    words: tuple[int, ...] | NDArray[np.uint32] = (len(parts), *parts)
    if max(words) < 2**32:  # numpy's own splitting gives the same words in half the time
        words = np.array(words, dtype=np.uint32)
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1


def seed_all(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_host(seed: int) -> None:
    """Seed as ``seed_all`` does but on the CPU only, in a hundredth of the time."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
