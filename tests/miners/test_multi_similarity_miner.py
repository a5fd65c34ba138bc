from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from metricforge import MINERS
from metricforge.miners import MultiSimilarityMiner
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.testing import check_miner


def rows_of(pairs):
    return list(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.positive.tolist(), strict=True))


def test_it_fulfils_the_contract():
    for similarity in (None, CosineSimilarity()):
        check_miner(MultiSimilarityMiner(), similarity=similarity)


def test_a_hand_worked_case():
    # by minus the distance: 0's positive 1 is at 1, its negatives at 3 and 10; 1's at 1, 2 and 9; 2's only positive is
    # at 7 and its negatives at 3 and 2
    embeddings, labels = torch.tensor([[0.0], [1.0], [3.0], [10.0]]), torch.tensor([0, 0, 1, 1])
    miner = MINERS.build(dict(type="MultiSimilarityMiner", epsilon=1.5))
    assert rows_of(miner(embeddings, labels, EuclideanSimilarity())) == [
        (1, 0, True),
        (1, 2, False),
        (2, 0, False),
        (2, 1, False),
        (2, 3, True),
    ]


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 3), max_size=9), st.floats(0, 1))
@example(0, [number % 7 for number in range(64)], 0.1)
def test_it_takes_what_a_loop_takes(seed, labels, epsilon):
    count = len(labels)
    embeddings = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    pairs = MultiSimilarityMiner(epsilon)(embeddings, torch.tensor(labels, dtype=torch.int64), CosineSimilarity())
    expected = []
    for a in range(count):
        cosine = torch.nn.functional.cosine_similarity(embeddings[a : a + 1], embeddings).tolist()
        positives = [j for j in range(count) if j != a and labels[j] == labels[a]]
        negatives = [j for j in range(count) if labels[j] != labels[a]]
        if positives and negatives:
            least, most = min(cosine[j] for j in positives), max(cosine[j] for j in negatives)
            expected += [(a, j, True) for j in positives if cosine[j] < most + epsilon]
            expected += [(a, j, False) for j in negatives if cosine[j] > least - epsilon]
    assert rows_of(pairs) == sorted(expected)


def test_it_takes_what_pytorch_metric_learning_takes():
    theirs = pytest.importorskip("pytorch_metric_learning.miners").MultiSimilarityMiner(0.1)
    generator = torch.Generator().manual_seed(3)
    embeddings = torch.randn(24, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (24,), generator=generator)
    anchor, positive, other_anchor, negative = theirs(embeddings, labels)
    expected = sorted([(a, p, True) for a, p in zip(anchor.tolist(), positive.tolist(), strict=True)])
    expected += [(a, n, False) for a, n in zip(other_anchor.tolist(), negative.tolist(), strict=True)]
    assert rows_of(MultiSimilarityMiner(0.1)(embeddings, labels, CosineSimilarity())) == sorted(expected)


def test_a_negative_epsilon_is_named():
    with pytest.raises(ValueError, match=r"epsilon must be a number >= 0, got -0\.1"):
        MultiSimilarityMiner(epsilon=-0.1)
