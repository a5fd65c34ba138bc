from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import NMI
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet


def entropy(counts: Counter) -> float:
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())


@pytest.fixture
def context() -> EvaluationContext:
    generator = np.random.default_rng(0)
    images = EmbeddingSet(generator.normal(size=(120, 4)), generator.integers(0, 6, 120) ** 2)
    return EvaluationContext(images, EuclideanSimilarity())


def test_nmi_is_the_papers_formula_on_counted_entropies(context):
    labels, clusters = context.queries.labels.tolist(), context.clusters().tolist()
    h1, h2 = entropy(Counter(labels)), entropy(Counter(clusters))
    information = h1 + h2 - entropy(Counter(zip(labels, clusters, strict=True)))
    assert NMI().evaluate(context) == {"nmi": pytest.approx(2 * information / (h1 + h2), abs=1e-12)}
    geometric = {"nmi_geometric": pytest.approx(information / math.sqrt(h1 * h2), abs=1e-12)}
    assert NMI(normalization="geometric").evaluate(context) == geometric


def test_nmi_equals_scikit_learn_on_every_hard_set(hard_set):
    context = EvaluationContext(hard_set, EuclideanSimilarity(), seed=3)
    expected = normalized_mutual_info_score(hard_set.labels, context.clusters())
    assert NMI().evaluate(context) == {"nmi": pytest.approx(expected, abs=1e-12)}


def test_separate_classes_score_1_and_a_collapsed_model_scores_about_0():
    labels = np.repeat(np.arange(4), 10)
    apart = EmbeddingSet(100.0 * np.eye(4)[labels] + np.random.default_rng(0).normal(size=(40, 4)), labels)
    assert NMI().evaluate(EvaluationContext(apart, EuclideanSimilarity())) == {"nmi": pytest.approx(1.0)}
    collapsed = EmbeddingSet(np.ones((40, 4)), labels)
    assert NMI().evaluate(EvaluationContext(collapsed, EuclideanSimilarity()))["nmi"] < 0.05


def test_it_searches_no_neighbours_and_says_its_normalisation(context):
    assert NMI().neighbours_needed(context) == 0
    assert NMI(normalization="geometric").protocol()["normalization"] == "geometric"
    assert NMI().protocol()["normalization"] == "arithmetic"


def test_another_normalisation_is_refused():
    with pytest.raises(ValueError, match='normalization must be "arithmetic" or "geometric", got \'max\''):
        NMI(normalization="max")
