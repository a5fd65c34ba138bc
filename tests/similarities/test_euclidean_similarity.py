from __future__ import annotations

import torch

from metricforge import SIMILARITIES
from metricforge.similarities import EuclideanSimilarity
from metricforge.testing import check_similarity


def test_it_fulfils_the_contract():
    check_similarity(EuclideanSimilarity())


def test_it_is_minus_the_distance_of_the_embeddings_as_they_are():
    similarity = SIMILARITIES.build(dict(type="EuclideanSimilarity"))
    x, y = torch.tensor([[0.0, 0.0], [6.0, 8.0]]), torch.tensor([[3.0, 4.0]])
    assert similarity.pairwise(x, y).tolist() == [[-5.0], [-5.0]]
    assert similarity(x, y).tolist() == [[-5.0], [-5.0]]
    assert similarity.prepare(x) is x


def test_nothing_is_more_alike_than_duplicates():
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    scores = EuclideanSimilarity().pairwise(x, x)
    assert scores.argmax(dim=1).tolist() == list(range(6))
    assert scores.max() == 0
