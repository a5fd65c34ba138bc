from __future__ import annotations

import numpy as np
import pytest

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import RecallAtK
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet


def test_recall_at_1_never_counts_the_query_as_its_own_neighbour():
    images = EmbeddingSet(np.array([[0.0], [1.0], [1.1]]), np.array([0, 0, 1]))  # 0->1 hit, 1->2 miss, 2 has no match
    assert RecallAtK(ks=(1,)).evaluate(EvaluationContext(images, EuclideanSimilarity())) == {"recall@1": 0.5}


def test_recall_equals_a_loop_over_full_rankings(hard_set, brute_force):
    ks = [k for k in (1, 2, 3, 8, 20) if k < len(hard_set)]
    labels = hard_set.labels
    expected = {}
    rankings = brute_force("euclidean", hard_set.embeddings, hard_set.embeddings, True)
    for k in ks:
        found = [
            any(labels[g] == labels[q] for g in row[:k])
            for q, row in enumerate(rankings)
            if any(labels[g] == labels[q] for g in row)
        ]
        expected[f"recall@{k}"] = sum(found) / len(found)
    assert RecallAtK(ks).evaluate(EvaluationContext(hard_set, EuclideanSimilarity())) == pytest.approx(expected, abs=0)


def test_queries_whose_class_the_gallery_lacks_are_left_out():
    queries = EmbeddingSet(np.array([[0.0], [1.0], [2.0]]), np.array([0, 1, 5]))
    gallery = EmbeddingSet(np.array([[0.1], [0.9], [2.0]]), np.array([0, 0, 1]))
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery=gallery)
    # 0 finds 0 at once; 1 finds class 0, 0, then 1 at distance 1: third at most, before it 0.9 and 0.1
    assert RecallAtK((1, 3)).evaluate(context) == {"recall@1": 0.5, "recall@3": 1.0}


def test_names_follow_the_order_asked_for():
    images = EmbeddingSet(np.eye(6), np.array([0, 0, 1, 1, 2, 2]))
    scores = RecallAtK([4, 1]).evaluate(EvaluationContext(images, EuclideanSimilarity()))
    assert list(scores) == ["recall@4", "recall@1"]
    assert RecallAtK([4, 1]).protocol() == {"ks": [4, 1]}


@pytest.mark.parametrize("ks", [(), (0,), (1, 1), (1.5,), (True,), 4, "12"])
def test_ks_that_are_no_distinct_whole_numbers_are_refused(ks):
    with pytest.raises(ValueError, match="ks must be distinct integers >= 1"):
        RecallAtK(ks)


def test_a_k_beyond_the_gallery_names_the_ks_to_leave_out():
    context = EvaluationContext(EmbeddingSet(np.eye(4), np.array([0, 0, 1, 1])), EuclideanSimilarity())
    with pytest.raises(ValueError, match=r"at most 3.*got \[1, 4, 3, 8\]; leave out \[4, 8\]"):
        RecallAtK((1, 4, 3, 8)).neighbours_needed(context)
