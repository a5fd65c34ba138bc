from __future__ import annotations

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from metricforge import MINERS
from metricforge.miners import HardPairMiner
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.testing import check_miner


def rows_of(pairs):
    return list(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.positive.tolist(), strict=True))


def test_it_fulfils_the_contract():
    for similarity in (None, CosineSimilarity()):
        check_miner(HardPairMiner(), similarity=similarity)


def test_a_hand_worked_case():
    embeddings = torch.tensor([[0.0], [1.0], [5.0], [3.0], [9.0]])
    miner = MINERS.build(dict(type="HardPairMiner"))
    pairs = miner(embeddings, torch.tensor([0, 0, 0, 1, 2]), EuclideanSimilarity())
    # Hardest positives 0-2, 1-2, 2-0; hardest negatives 0-3, 1-3, 2-3, 3-1 (a tie with 3-2, the first wins), 4-2.
    assert rows_of(pairs) == [(0, 2, True), (0, 3, False), (1, 2, True), (1, 3, False), (2, 3, False), (2, 4, False)]


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 3), max_size=9))
@example(0, [number % 7 for number in range(64)])
def test_it_takes_what_a_loop_takes(seed, labels):
    count = len(labels)
    embeddings = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    pairs = HardPairMiner()(embeddings, torch.tensor(labels, dtype=torch.int64), EuclideanSimilarity())
    expected = set()
    for a in range(count):
        distance = [(embeddings[a] - embeddings[j]).norm().item() for j in range(count)]
        positives = [j for j in range(count) if j != a and labels[j] == labels[a]]
        negatives = [j for j in range(count) if labels[j] != labels[a]]
        if positives:
            j = max(positives, key=distance.__getitem__)
            expected.add((min(a, j), max(a, j), True))
        if negatives:
            j = min(negatives, key=distance.__getitem__)
            expected.add((min(a, j), max(a, j), False))
    assert rows_of(pairs) == sorted(expected)
