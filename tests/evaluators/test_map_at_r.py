from __future__ import annotations

import numpy as np
import pytest

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import MAPAtR
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet


def test_map_at_r_of_a_case_worked_by_hand():
    # One query of class 0 at 0; the gallery by distance: 0, 1, 0, 0, 1 and R = 3: (1/1 + 2/3) / 3.
    queries = EmbeddingSet(np.array([[0.0]]), np.array([0]))
    gallery = EmbeddingSet(np.arange(1.0, 6.0)[:, None], np.array([0, 1, 0, 0, 1]))
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery=gallery)
    assert MAPAtR().ranks_needed(context).largest(context) == 3
    assert MAPAtR().evaluate(context) == {"map@r": pytest.approx(5 / 9, abs=1e-15)}


def test_map_at_r_equals_a_loop_over_full_rankings(hard_set, brute_force):
    labels = hard_set.labels
    values = []
    for q, row in enumerate(brute_force("euclidean", hard_set.embeddings, hard_set.embeddings, True)):
        right = [labels[g] == labels[q] for g in row]
        r = sum(right)
        if r:
            values.append(sum(sum(right[: i + 1]) / (i + 1) for i in range(r) if right[i]) / r)
    scores = MAPAtR().evaluate(EvaluationContext(hard_set, EuclideanSimilarity()))
    assert scores == {"map@r": pytest.approx(sum(values) / len(values), abs=1e-12)}


def test_a_set_of_one_class_is_perfect():
    images = EmbeddingSet(np.random.default_rng(0).normal(size=(12, 2)), np.zeros(12, dtype=np.int64))
    assert MAPAtR().evaluate(EvaluationContext(images, EuclideanSimilarity())) == {"map@r": pytest.approx(1.0)}


def test_without_any_match_it_is_an_error_not_a_number():
    context = EvaluationContext(EmbeddingSet(np.eye(3), np.arange(3)), EuclideanSimilarity())
    with pytest.raises(ValueError, match="none of the 3 queries"):
        MAPAtR().evaluate(context)
