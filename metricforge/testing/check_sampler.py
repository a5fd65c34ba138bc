"""The contract of a batch sampler as a test."""

from __future__ import annotations

import copy
import random

import numpy as np

from metricforge.samplers import BatchSampler
from metricforge.testing.clause import clause, require


def check_sampler(sampler: BatchSampler, *, epochs: int = 3) -> None:
    """Test a sampler against the contract, on copies of it.

    - an epoch has ``len(sampler)`` batches of integers, each an image of the data set, all of ``batch_size``;
    - the same seed and epoch give the same batches, whatever was drawn before; another epoch or seed gives others;
    - it draws from the generator that it is given: those of Python, numpy and torch stay as they are;
    - two processes share every batch, and draw the same ones;
    - it leaves the labels alone.

    Args:
        sampler: the sampler, built for labels of the caller's.
        epochs: how many epochs to look at, at least 2.

    Raises:
        AssertionError: naming the clause that failed.
    """
    with clause(sampler, "it is a sampler"):
        require(isinstance(sampler, BatchSampler), "not a metricforge.BatchSampler")
    labels = sampler.labels.copy()
    drawn = [_epoch(sampler, epoch) for epoch in range(epochs)]
    for epoch, batches in enumerate(drawn):
        _check_batches(sampler, batches, epoch)
    with clause(sampler, "the same seed and epoch give the same batches"):
        again = [_epoch(sampler, epoch) for epoch in reversed(range(epochs))][::-1]
        require(again == drawn, "they differ; draw from the generator alone, and keep nothing from epoch to epoch")
    with clause(sampler, "another epoch and another seed give other batches"):
        require(drawn[0] != drawn[1], f"epochs 0 and 1 are the same {len(drawn[0])} batches")
        require(_epoch(sampler, 0, seed=sampler.seed + 1) != drawn[0], "another seed gives the same batches")
    with clause(sampler, "it leaves the generators of Python and numpy alone"):
        before = random.getstate(), np.random.get_state(legacy=True)[1].tobytes()  # type: ignore[index, union-attr]
        _epoch(sampler, 0)
        after = random.getstate(), np.random.get_state(legacy=True)[1].tobytes()  # type: ignore[index, union-attr]
        require(before == after, "one of them has moved")
    if sampler.batch_size % 2 == 0 and all(len(batch) % 2 == 0 for batches in drawn for batch in batches):
        with clause(sampler, "two processes share every batch"):
            parts = [_epoch(sampler, 0, rank=rank, world_size=2) for rank in range(2)]
            shared = [first + second for first, second in zip(*parts, strict=True)]
            require(shared == drawn[0], "their shares are not the batches of one process")
    with clause(sampler, "it leaves the labels alone"):
        require(bool((sampler.labels == labels).all()), "they were changed in place")


def _epoch(sampler: BatchSampler, epoch: int, **attributes: int) -> list[list[int]]:
    """The batches of an epoch, of a copy with these ``attributes``."""
    again = copy.deepcopy(sampler)
    again.rank, again.world_size = 0, 1
    for name, value in attributes.items():
        setattr(again, name, value)
    with clause(sampler, f"it gives the batches of an epoch (epoch {epoch})"):
        again.set_epoch(epoch)
        return [list(batch) for batch in again]


def _check_batches(sampler: BatchSampler, batches: list[list[int]], epoch: int) -> None:
    images = len(sampler.labels)
    with clause(sampler, f"an epoch has as many batches as len() says (epoch {epoch})"):
        require(len(batches) == len(sampler), f"{len(batches)} batches, len() is {len(sampler)}")
        require(len(batches) > 0, "it has none")
    with clause(sampler, f"batches are images of the data set (epoch {epoch})"):
        for number, batch in enumerate(batches):
            outside = [image for image in batch if not 0 <= image < images]
            require(not outside, f"batch {number} has {outside[:3]}, outside 0..{images - 1}")
            size = sampler.batch_size
            require(len(batch) == size, f"batch {number} has {len(batch)} images, batch_size is {size}")
