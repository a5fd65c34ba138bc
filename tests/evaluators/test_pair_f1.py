from __future__ import annotations

import itertools

import numpy as np
import pytest

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import PairF1
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet
from metricforge.testing import check_evaluator


def test_f1_equals_a_count_over_all_pairs(hard_set):
    context = EvaluationContext(hard_set, EuclideanSimilarity(), seed=3)
    labels, clusters = hard_set.labels.tolist(), context.clusters().tolist()
    together = {"both": 0, "clusters": 0, "classes": 0}
    for i, j in itertools.combinations(range(len(labels)), 2):
        same_class, same_cluster = labels[i] == labels[j], clusters[i] == clusters[j]
        together["both"] += same_class and same_cluster
        together["clusters"] += same_cluster
        together["classes"] += same_class
    precision = together["both"] / max(together["clusters"], 1)
    recall = together["both"] / max(together["classes"], 1)
    expected = 2 * precision * recall / (precision + recall) if together["both"] else 0.0
    assert PairF1().evaluate(context) == {"f1": pytest.approx(expected, abs=1e-12)}


def test_classes_and_clusters_of_one_image_each_agree():
    apart = EmbeddingSet(10.0 * np.eye(5), np.arange(5))
    assert PairF1().evaluate(EvaluationContext(apart, EuclideanSimilarity())) == {"f1": 1.0}


def test_a_collapsed_model_scores_as_one_cluster():
    images = EmbeddingSet(np.ones((40, 4)), np.repeat(np.arange(4), 10))
    pairs, right = 40 * 39 / 2, 4 * 10 * 9 / 2  # one cluster of all: every pair of a class is right
    expected = 2 * right / (pairs + right)
    context = EvaluationContext(images, EuclideanSimilarity())
    assert len(set(context.clusters().tolist())) == 1
    assert PairF1().evaluate(context) == {"f1": pytest.approx(expected)}


def test_it_keeps_the_contract_of_an_evaluator():
    check_evaluator(PairF1())
