from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import reranked_context as module
from metricforge.evaluators.reranked_context import reranked_context
from metricforge.interfaces import Similarity
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 5, (40, 3)).astype(np.float32)  # ties in either similarity
QUERIES = EmbeddingSet(IMAGES, GENERATOR.integers(0, 4, 40))
GALLERY = EmbeddingSet(GENERATOR.integers(0, 5, (25, 3)).astype(np.float32), GENERATOR.integers(0, 4, 25))


class FirstNumber(Similarity):
    """Alike are images whose first number is."""

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return -(x[:, None, 0] - y[None, :, 0]).abs()


def _by_loop(gallery: EmbeddingSet | None, shortlist: int) -> list[list[int]]:
    searched = QUERIES.embeddings if gallery is None else gallery.embeddings
    rankings = []
    for q, query in enumerate(QUERIES.embeddings):
        others = [g for g in range(len(searched)) if gallery is not None or g != q]
        near = sorted(others, key=lambda g, query=query: (((searched[g] - query) ** 2).sum(), g))
        head = sorted(near[:shortlist], key=lambda g, query=query: (abs(searched[g][0] - query[0]), g))
        rankings.append(head + near[shortlist:])
    return rankings


@pytest.mark.parametrize("gallery", [None, GALLERY])
@pytest.mark.parametrize("shortlist", [1, 6, 1000])
@pytest.mark.parametrize("numbers_at_once", [1, 2**22])
def test_the_shortlist_is_put_into_order_and_what_is_behind_it_stays(monkeypatch, gallery, shortlist, numbers_at_once):
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", numbers_at_once)
    found = EvaluationContext(QUERIES, EuclideanSimilarity(), gallery)
    exact = EvaluationContext(QUERIES, FirstNumber(), gallery)
    reranked = reranked_context(found, exact, shortlist)
    expected = _by_loop(gallery, shortlist)
    size = reranked.gallery_size
    for k in (1, 9, size):  # in a growing order, so that each is searched
        assert reranked.neighbours(k).tolist() == [ranking[:k] for ranking in expected]
    before = found.neighbours(size)
    assert (before != reranked.neighbours(size)).any() == (shortlist > 1)  # the first ranking is left as it is


def test_ranks_are_read_from_these_neighbours_alone():
    exact = EvaluationContext(QUERIES, FirstNumber())
    assert reranked_context(exact.by(EuclideanSimilarity()), exact, 5).ranks_are_neighbours


def test_a_similarity_whose_scores_are_not_finite_is_named():
    class Diverged(FirstNumber):
        def score_lists(self, x: Tensor, lists: Tensor) -> Tensor:
            return torch.full(lists.shape[:2], torch.inf)

    exact = EvaluationContext(QUERIES, Diverged())
    with pytest.raises(ValueError, match=r"Diverged\.score_lists gave 200 scores that are not finite"):
        reranked_context(exact.by(EuclideanSimilarity()), exact, 5).neighbours(1)
