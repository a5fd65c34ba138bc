from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import pair_scores as module
from metricforge.evaluators.labelled_pairs import LabelledPairs
from metricforge.evaluators.pair_scores import pair_scores
from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity
from metricforge.structures import EmbeddingSet

GENERATOR = np.random.default_rng(0)
QUERIES, GALLERY = GENERATOR.normal(size=(9, 8)), GENERATOR.normal(size=(14, 8))


class CityBlock(Similarity):
    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return -(x[:, None] - y[None]).abs().sum(dim=2)


def _by_hand(similarity: Similarity, query: np.ndarray, image: np.ndarray) -> float:
    if isinstance(similarity, HammingSimilarity):
        return -float(sum((a > 0) != (b > 0) for a, b in zip(query, image, strict=True)))
    if isinstance(similarity, CityBlock):
        return -float(sum(abs(a - b) for a, b in zip(query, image, strict=True)))
    if isinstance(similarity, CosineSimilarity):
        return float((query * image).sum() / np.sqrt((query**2).sum() * (image**2).sum()))
    return -float(((query - image) ** 2).sum())


@pytest.mark.parametrize("similarity", [CosineSimilarity(), EuclideanSimilarity(), HammingSimilarity(), CityBlock()])
@pytest.mark.parametrize("searches_itself", [True, False])
@pytest.mark.parametrize("at_once", [1, 3, None])
def test_scores_are_those_worked_out_pair_by_pair_in_blocks_of_any_size(
    monkeypatch, similarity, searches_itself, at_once
):
    if at_once is not None:
        for name in ("CODES_AT_ONCE", "NUMBERS_AT_ONCE", "QUERIES_AT_ONCE"):
            monkeypatch.setattr(module, name, at_once)
    queries = EmbeddingSet(QUERIES, np.zeros(9, dtype=np.int64))
    gallery = None if searches_itself else EmbeddingSet(GALLERY, np.zeros(14, dtype=np.int64))
    context = EvaluationContext(queries, similarity, gallery)
    q, g = np.array([0, 0, 2, 2, 2, 7, 8]), np.array([3, 8, 1, 0, 5, 6, 0])  # several of a query, and queries without
    found = pair_scores(context, LabelledPairs(q, g, len(q)))
    searched = QUERIES if searches_itself else GALLERY
    expected = [_by_hand(similarity, QUERIES[one], searched[other]) for one, other in zip(q, g, strict=True)]
    exact = similarity.search in ("l2", "ip")
    np.testing.assert_allclose(found, expected, rtol=1e-12 if exact else 1e-6)
    assert found.dtype == np.float64


def test_no_pair_has_no_score():
    context = EvaluationContext(EmbeddingSet(QUERIES, np.zeros(9, dtype=np.int64)), CosineSimilarity())
    nothing = np.empty(0, dtype=np.int64)
    assert pair_scores(context, LabelledPairs(nothing, nothing, 0)).tolist() == []
