"""Every random number of a run follows from (seed, epoch, iteration, sample): the ground of exact resume."""

from __future__ import annotations

import random

import numpy as np
import torch
from numpy.typing import NDArray


def derive_seed(*parts: int) -> int:
    """A 63-bit seed from non-negative integers such as (seed, epoch, iteration); unlike parts give unrelated seeds."""
    words: tuple[int, ...] | NDArray[np.uint32] = (len(parts), *parts)
    if max(words) < 2**32:  # numpy's own splitting gives the same words, and takes half of the time
        words = np.array(words, dtype=np.uint32)
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1


def seed_all(seed: int) -> None:
    """Seeds Python's, numpy's and torch's global generators (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_host(seed: int) -> None:
    """``seed_all`` without the devices, which takes a hundredth of the time: for what draws on the CPU alone."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
