from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import AMI
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet
from metricforge.testing import check_evaluator


def entropy(labels) -> float:
    return -sum(n / len(labels) * math.log(n / len(labels)) for n in Counter(labels).values())


def information(first, second) -> float:
    return entropy(first) + entropy(second) - entropy(list(zip(first, second, strict=True)))


def test_ami_is_adjusted_by_the_mean_over_all_orders_of_the_clusters():
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    embeddings = np.random.default_rng(5).normal(size=(7, 2)) + labels[:, None]
    context = EvaluationContext(EmbeddingSet(embeddings, labels), EuclideanSimilarity())
    clusters = context.clusters().tolist()
    orders = [information(labels.tolist(), order) for order in itertools.permutations(clusters)]
    chance = math.fsum(orders) / len(orders)
    mean = (entropy(labels.tolist()) + entropy(clusters)) / 2
    expected = (information(labels.tolist(), clusters) - chance) / (mean - chance)
    assert abs(expected) < 0.999
    assert AMI().evaluate(context) == {"ami": pytest.approx(expected, abs=1e-9)}


def test_ami_equals_scikit_learn_on_every_hard_set(hard_set):
    context = EvaluationContext(hard_set, EuclideanSimilarity(), seed=3)
    expected = adjusted_mutual_info_score(hard_set.labels, context.clusters())
    assert AMI().evaluate(context) == {"ami": pytest.approx(expected, abs=1e-12)}


def test_it_keeps_the_contract_and_names_its_normalisation():
    check_evaluator(AMI())
    assert AMI().protocol()["normalization"] == "arithmetic"
