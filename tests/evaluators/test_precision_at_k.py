from __future__ import annotations

import numpy as np
import pytest

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import PrecisionAtK
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet
from metricforge.testing import check_evaluator


def test_precision_equals_a_loop_over_full_rankings(hard_set, rankings_of_hard_set):
    ks = [k for k in (3, 1, 10) if k < len(hard_set)]
    expected = {
        f"precision@{k}": sum(sum(row[:k]) / k for row in rankings_of_hard_set) / len(rankings_of_hard_set) for k in ks
    }
    scores = PrecisionAtK(ks).evaluate(EvaluationContext(hard_set, EuclideanSimilarity()))
    assert scores == pytest.approx(expected, abs=1e-12)


def test_precision_leaves_a_query_out_of_its_own_neighbours_in_a_gallery(overlapping_sets, rankings_of_overlapping):
    queries, gallery = overlapping_sets
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery, shared_ids=True)
    expected = sum(sum(row[:4]) / 4 for row in rankings_of_overlapping) / len(rankings_of_overlapping)
    assert PrecisionAtK((4,)).evaluate(context) == {"precision@4": pytest.approx(expected, abs=1e-12)}


def test_fewer_right_images_than_k_cannot_reach_1():
    images = EmbeddingSet(np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([0, 0, 1, 1]))
    scores = PrecisionAtK((1, 2)).evaluate(EvaluationContext(images, EuclideanSimilarity()))
    assert scores == {"precision@1": 1.0, "precision@2": 0.5}


def test_it_keeps_the_contract_of_an_evaluator():
    check_evaluator(PrecisionAtK())


def test_a_k_beyond_the_gallery_and_ks_that_are_none_are_refused():
    context = EvaluationContext(EmbeddingSet(np.eye(4), np.array([0, 0, 1, 1])), EuclideanSimilarity())
    with pytest.raises(ValueError, match=r"ks of PrecisionAtK must be at most 3.*leave out \[10\]"):
        PrecisionAtK().neighbours_needed(context)
    with pytest.raises(ValueError, match="ks must be distinct integers >= 1"):
        PrecisionAtK((0,))
