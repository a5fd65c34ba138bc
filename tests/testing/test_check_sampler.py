from __future__ import annotations

import random

import numpy as np
import pytest

from metricforge import SAMPLERS, BatchSampler
from metricforge.testing import check_sampler

LABELS = np.repeat(np.arange(6), 8)


class Shuffled(BatchSampler):
    """Small and right; the rest break it."""

    def __len__(self) -> int:
        return len(self.labels) // self.batch_size

    def global_batches(self, generator):
        order = generator.permutation(len(self.labels))
        for number in range(len(self)):
            yield order[number * self.batch_size : (number + 1) * self.batch_size]


def test_a_sampler_that_keeps_the_contract_passes():
    check_sampler(Shuffled(LABELS, 8))


@pytest.mark.parametrize(
    "config",
    [
        dict(type="ClassBalancedBatchSampler", classes_per_batch=3, samples_per_class=2),
        dict(type="RandomBatchSampler", batch_size=8),
        dict(
            type="HierarchicalBatchSampler",
            groups_per_batch=2,
            classes_per_group=2,
            samples_per_class=2,
            groups=LABELS // 3,
        ),
    ],
)
def test_the_samplers_of_the_core_pass(config):
    check_sampler(SAMPLERS.build(config, labels=LABELS))


class IsOfAnotherLength(Shuffled):
    def __len__(self) -> int:
        return 2

    def global_batches(self, generator):
        yield from [np.arange(8)] * 3


class IsTheSameEveryEpoch(Shuffled):
    def global_batches(self, generator):
        return super().global_batches(np.random.default_rng(0))


class DrawsFromPython(Shuffled):
    def global_batches(self, generator):
        for batch in super().global_batches(generator):
            random.random()
            yield batch


class CountsItsEpochs(Shuffled):
    count = 0

    def global_batches(self, generator):
        CountsItsEpochs.count += 1
        return super().global_batches(np.random.default_rng(self.count))


class LeavesTheData(Shuffled):
    def global_batches(self, generator):
        for batch in super().global_batches(generator):
            yield batch + 1


class IsRagged(Shuffled):
    def global_batches(self, generator):
        for batch in super().global_batches(generator):
            yield batch[:-1]


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        (IsOfAnotherLength, "3 batches, len.. is 2"),
        (IsTheSameEveryEpoch, "epochs 0 and 1 are the same"),
        (DrawsFromPython, "leaves the generators of Python and numpy alone"),
        (CountsItsEpochs, "the same seed and epoch give the same batches"),
        (LeavesTheData, r"outside 0\.\.47"),
        (IsRagged, "has 7 images, batch_size is 8"),
    ],
)
def test_a_broken_sampler_is_caught_and_the_clause_is_named(sampler, said):
    with pytest.raises(AssertionError, match=rf"^{sampler.__name__}: .*{said}"):
        check_sampler(sampler(LABELS, 8))
