from __future__ import annotations

import numpy as np
import pytest

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import RPrecision
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet


def test_r_precision_of_a_case_worked_by_hand():
    # One query of class 0 at 0; the gallery by distance: 1, 0, 0, 0 and R = 3: two of the first three.
    queries = EmbeddingSet(np.array([[0.0]]), np.array([0]))
    gallery = EmbeddingSet(np.arange(1.0, 5.0)[:, None], np.array([1, 0, 0, 0]))
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery=gallery)
    assert RPrecision().ranks_needed(context).largest(context) == 3
    assert RPrecision().evaluate(context) == {"r_precision": pytest.approx(2 / 3, abs=1e-15)}


def test_r_precision_equals_a_loop_over_full_rankings(hard_set, brute_force):
    labels = hard_set.labels
    values = []
    for q, row in enumerate(brute_force("euclidean", hard_set.embeddings, hard_set.embeddings, True)):
        right = [labels[g] == labels[q] for g in row]
        if sum(right):
            values.append(sum(right[: sum(right)]) / sum(right))
    scores = RPrecision().evaluate(EvaluationContext(hard_set, EuclideanSimilarity()))
    assert scores == {"r_precision": pytest.approx(sum(values) / len(values), abs=1e-12)}


def test_without_any_match_it_is_an_error_not_a_number():
    context = EvaluationContext(EmbeddingSet(np.eye(3), np.arange(3)), EuclideanSimilarity())
    with pytest.raises(ValueError, match="none of the 3 queries"):
        RPrecision().evaluate(context)
