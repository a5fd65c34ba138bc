from __future__ import annotations

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from metricforge import MINERS, Similarity
from metricforge.miners import HardTripletMiner
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.testing import check_miner


class TableSimilarity(Similarity):
    """Scores given in advance, for embeddings that are row numbers."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def pairwise(self, x, y):
        return self.scores[x.long()[:, 0]][:, y.long()[:, 0]]


def rows_of(triplets):
    return list(zip(triplets.anchor.tolist(), triplets.positive.tolist(), triplets.negative.tolist(), strict=True))


def test_it_fulfils_the_contract():
    for similarity in (None, CosineSimilarity()):
        check_miner(HardTripletMiner(), similarity=similarity)


def test_a_hand_worked_case():
    embeddings = torch.tensor([[0.0], [1.0], [5.0], [3.0], [9.0]])
    miner = MINERS.build(dict(type="HardTripletMiner"))
    triplets = miner(embeddings, torch.tensor([0, 0, 0, 1, 2]), EuclideanSimilarity())
    assert rows_of(triplets) == [(0, 2, 3), (1, 2, 3), (2, 0, 3)]  # 3 and 4 have no positive


def test_an_anchor_without_a_negative_has_no_triplet():
    assert len(HardTripletMiner()(torch.randn(3, 2), torch.zeros(3, dtype=torch.int64), EuclideanSimilarity())) == 0


def test_an_empty_batch_has_no_triplet():
    assert len(HardTripletMiner()(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), EuclideanSimilarity())) == 0


@given(
    st.integers(0, 2**31 - 1), st.lists(st.integers(0, 3), min_size=1, max_size=9), st.sampled_from([-50.0, 0.0, 50.0])
)
@example(0, [number % 7 for number in range(64)], 0.0)
def test_it_takes_what_a_loop_takes_whatever_the_sign_of_the_scores(seed, labels, shift):
    count = len(labels)
    scores = torch.randn(count, count, generator=torch.Generator().manual_seed(seed)) + shift
    triplets = HardTripletMiner()(torch.arange(count)[:, None].float(), torch.tensor(labels), TableSimilarity(scores))
    expected = []
    for a in range(count):
        positives = [j for j in range(count) if j != a and labels[j] == labels[a]]
        negatives = [j for j in range(count) if labels[j] != labels[a]]
        if positives and negatives:
            row = scores[a].tolist()
            expected.append((a, min(positives, key=row.__getitem__), max(negatives, key=row.__getitem__)))
    assert rows_of(triplets) == expected
