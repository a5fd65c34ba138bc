from __future__ import annotations

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from metricforge import MINERS
from metricforge.miners import RandomTripletMiner
from metricforge.similarities import EuclideanSimilarity
from metricforge.testing import check_miner


def mine(labels):
    labels = torch.tensor(labels, dtype=torch.int64)
    found = RandomTripletMiner()(torch.zeros(len(labels), 2), labels, EuclideanSimilarity())
    return list(zip(found.anchor.tolist(), found.positive.tolist(), found.negative.tolist(), strict=True))


def test_it_fulfils_the_contract():
    check_miner(MINERS.build(dict(type="RandomTripletMiner")))


@given(st.lists(st.integers(0, 3), max_size=9))
@example([number % 7 for number in range(64)])
def test_it_yields_each_ordered_positive_pair_once_with_a_negative(labels):
    triplets = mine(labels)
    count = len(labels)
    expected = [
        (a, p)
        for a in range(count)
        for p in range(count)
        if a != p and labels[a] == labels[p] and any(label != labels[a] for label in labels)
    ]
    assert [triplet[:2] for triplet in triplets] == expected
    assert all(labels[a] != labels[n] for a, _, n in triplets)


def test_every_negative_is_as_likely_as_another():
    torch.manual_seed(0)
    negatives = [n for _ in range(500) for _, _, n in mine([0, 0, 1, 2, 3, 4])]
    counts = [negatives.count(n) for n in range(6)]
    assert counts[:2] == [0, 0]
    assert max(abs(count - 250) for count in counts[2:]) < 69  # five standard deviations of a fair draw


def test_it_repeats_with_the_seed_and_changes_without():
    labels = [0] * 5 + [1] * 5
    torch.manual_seed(3)
    first, second = mine(labels), mine(labels)
    torch.manual_seed(3)
    assert mine(labels) == first
    assert second != first
