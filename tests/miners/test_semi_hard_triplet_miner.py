from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from metricforge import MINERS
from metricforge.miners import SemiHardTripletMiner
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.testing import check_miner


def rows_of(triplets):
    return list(zip(triplets.anchor.tolist(), triplets.positive.tolist(), triplets.negative.tolist(), strict=True))


def test_it_fulfils_the_contract():
    for similarity in (None, CosineSimilarity()):
        check_miner(SemiHardTripletMiner(), similarity=similarity)


def mine_from_origin(positive: float, negatives: list[float], margin: float = 1.0):
    """The negatives chosen for the anchor at 0 and its positive, by their places on a line."""
    embeddings = torch.tensor([0.0, positive, *negatives])[:, None]
    labels = torch.tensor([0, 0, *range(1, len(negatives) + 1)])
    miner = MINERS.build(dict(type="SemiHardTripletMiner", margin=margin))
    triplets = rows_of(miner(embeddings, labels, EuclideanSimilarity()))
    return [embeddings[n].item() for a, p, n in triplets if (a, p) == (0, 1)]


def test_the_nearest_negative_that_is_farther_than_the_positive_is_taken():
    assert mine_from_origin(2.0, [-1.5, -2.25, -2.5, -9.0]) == [-2.25]


def test_if_every_negative_is_nearer_the_farthest_is_taken():
    assert mine_from_origin(2.0, [-0.5, -1.5, -1.0]) == [-1.5]


def test_a_negative_as_far_as_the_positive_is_not_semi_hard():
    assert mine_from_origin(2.0, [-2.0, -2.5]) == [-2.5]


def test_a_pair_whose_farther_negatives_are_all_beyond_the_margin_is_left_out():
    assert mine_from_origin(2.0, [-3.0]) == []
    assert mine_from_origin(2.0, [-1.0, -3.5]) == []
    assert mine_from_origin(2.0, [-3.0], margin=1.25) == [-3.0]


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 3), max_size=9), st.sampled_from([0.1, 0.5, 5.0]))
@example(0, [number % 7 for number in range(64)], 0.5)
def test_it_takes_what_a_loop_takes(seed, labels, margin):
    count = len(labels)
    embeddings = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    triplets = SemiHardTripletMiner(margin)(embeddings, torch.tensor(labels, dtype=torch.int64), EuclideanSimilarity())
    distance = [[(embeddings[i] - embeddings[j]).norm().item() for j in range(count)] for i in range(count)]
    expected = []
    for a in range(count):
        for p in range(count):
            negatives = sorted((distance[a][n], n) for n in range(count) if labels[n] != labels[a])
            if a == p or labels[a] != labels[p] or not negatives:
                continue
            farther = [(d, n) for d, n in negatives if d > distance[a][p]]
            if not farther:
                expected.append((a, p, negatives[-1][1]))
            elif farther[0][0] < distance[a][p] + margin:
                expected.append((a, p, farther[0][1]))
    assert rows_of(triplets) == expected


def test_scores_that_are_not_finite_never_give_a_false_negative():
    embeddings = torch.tensor([[0.0], [1.0], [torch.nan], [2.0], [torch.nan]])
    labels = torch.tensor([0, 0, 1, 1, 0])
    for anchor, positive, negative in rows_of(SemiHardTripletMiner()(embeddings, labels, EuclideanSimilarity())):
        assert labels[anchor] == labels[positive] != labels[negative]


def test_a_margin_that_is_not_above_zero_is_named():
    with pytest.raises(ValueError, match="margin must be a number > 0, got 0"):
        SemiHardTripletMiner(0)
