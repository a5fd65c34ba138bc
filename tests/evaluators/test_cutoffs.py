from __future__ import annotations

import numpy as np
import pytest

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators.cutoffs import checked_ks, largest_k
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet


def test_distinct_integers_from_one_on_are_kept_in_their_order():
    assert checked_ks([8, 1, 2]) == (8, 1, 2)


@pytest.mark.parametrize("ks", [[], [0], [1, -2], [1, 1], [1.0], [True], ["1"], 5, "12", None])
def test_anything_else_is_refused_with_an_example(ks):
    with pytest.raises(ValueError, match=r"ks must be distinct integers >= 1, such as \(1, 2, 4, 8\), got"):
        checked_ks(ks)


def test_the_largest_k_is_what_a_query_can_find_at_most():
    images = EmbeddingSet(np.eye(5), np.zeros(5, dtype=np.int64))
    itself = EvaluationContext(images, EuclideanSimilarity())
    with_gallery = EvaluationContext(images, EuclideanSimilarity(), EmbeddingSet(np.eye(5), images.labels))
    assert largest_k((4, 1), itself, "RecallAtK") == 4
    assert largest_k((5, 1), with_gallery, "RecallAtK") == 5
    with pytest.raises(ValueError, match=r"ks of CMC must be at most 4, .* got \[1, 5, 9\]; leave out \[5, 9\]"):
        largest_k((1, 5, 9), itself, "CMC")
