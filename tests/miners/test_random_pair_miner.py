from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from metricforge import MINERS
from metricforge.miners import RandomPairMiner
from metricforge.similarities import EuclideanSimilarity
from metricforge.testing import check_miner


def mine(labels, negatives_per_positive=1.0):
    labels = torch.tensor(labels, dtype=torch.int64)
    pairs = RandomPairMiner(negatives_per_positive)(torch.zeros(len(labels), 2), labels, EuclideanSimilarity())
    return list(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.positive.tolist(), strict=True))


def test_it_fulfils_the_contract():
    check_miner(MINERS.build(dict(type="RandomPairMiner")))


@given(st.lists(st.integers(0, 3), max_size=9), st.sampled_from([0.5, 1.0, 2.0]))
@example([number % 7 for number in range(64)], 1.0)
def test_it_yields_every_positive_pair_and_the_wanted_number_of_different_negative_ones(labels, ratio):
    pairs = mine(labels, ratio)
    count = len(labels)
    every = [(i, j, labels[i] == labels[j]) for i in range(count) for j in range(i + 1, count)]
    positives = [pair for pair in every if pair[2]]
    assert [pair for pair in pairs if pair[2]] == positives
    negatives = [pair for pair in pairs if not pair[2]]
    assert len(negatives) == len(set(negatives)) == min(round(ratio * len(positives)), len(every) - len(positives))
    assert set(pairs) <= set(every)


def test_every_negative_pair_is_as_likely_as_another():
    torch.manual_seed(0)
    labels = [0, 0, 1, 2]  # one positive pair, five negative ones
    counts: dict[tuple[int, int, bool], int] = {}
    for _ in range(1000):
        for pair in mine(labels):
            counts[pair] = counts.get(pair, 0) + 1
    assert counts.pop((0, 1, True)) == 1000
    assert len(counts) == 5
    assert max(abs(count - 200) for count in counts.values()) < 64  # five standard deviations of a fair draw


def test_it_repeats_with_the_seed_and_changes_without():
    labels = [0] * 5 + [1] * 5
    torch.manual_seed(3)
    first, second = mine(labels), mine(labels)
    torch.manual_seed(3)
    assert mine(labels) == first
    assert second != first


def test_a_number_of_negatives_that_is_not_above_zero_is_named():
    with pytest.raises(ValueError, match="negatives_per_positive must be a number > 0, got 0"):
        RandomPairMiner(0)
