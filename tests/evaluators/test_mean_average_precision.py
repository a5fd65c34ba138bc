from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import MeanAveragePrecision
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity
from metricforge.structures import EmbeddingSet
from metricforge.testing import check_evaluator


def average_precision(row: list[bool]) -> float:
    return sum(sum(row[: i + 1]) / (i + 1) for i in range(len(row)) if row[i]) / sum(row)


def test_map_of_a_case_worked_by_hand():
    # the gallery by distance: right, wrong, right, wrong, right: (1/1 + 2/3 + 3/5) / 3
    queries = EmbeddingSet(np.array([[0.0]]), np.array([0]))
    gallery = EmbeddingSet(np.arange(1.0, 6.0)[:, None], np.array([0, 1, 0, 1, 0]))
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery)
    assert MeanAveragePrecision().evaluate(context) == {"map": pytest.approx((1 + 2 / 3 + 3 / 5) / 3, abs=1e-15)}


def test_map_equals_a_loop_over_full_rankings(hard_set, rankings_of_hard_set):
    expected = np.mean([average_precision(row) for row in rankings_of_hard_set])
    scores = MeanAveragePrecision().evaluate(EvaluationContext(hard_set, EuclideanSimilarity()))
    assert scores == {"map": pytest.approx(expected, abs=1e-12)}


def test_a_query_in_the_gallery_is_left_out_of_its_own_ranking(overlapping_sets, rankings_of_overlapping):
    queries, gallery = overlapping_sets
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery, shared_ids=True)
    expected = np.mean([average_precision(row) for row in rankings_of_overlapping])
    assert MeanAveragePrecision().evaluate(context) == {"map": pytest.approx(expected, abs=1e-12)}


@pytest.mark.parametrize("similarity", [EuclideanSimilarity(), CosineSimilarity(), HammingSimilarity()])
def test_the_block_size_changes_nothing(overlapping_sets, similarity):
    queries, gallery = (
        EmbeddingSet(np.tile(images.embeddings - 2, (1, 8)), images.labels, images.ids) for images in overlapping_sets
    )
    queries = EmbeddingSet(queries.embeddings + 0.25, queries.labels, queries.ids)
    gallery = EmbeddingSet(gallery.embeddings + 0.25, gallery.labels, gallery.ids)
    context = EvaluationContext(queries, similarity, gallery, shared_ids=True)
    whole = MeanAveragePrecision().per_query(context)["map"]
    for scores_at_once in (1, 100, 10**6):
        parts = EvaluationContext(queries, similarity, gallery, shared_ids=True, scores_at_once=scores_at_once)
        assert MeanAveragePrecision().per_query(parts)["map"].tolist() == whole.tolist()


def test_map_equals_scikit_learn_and_pytorch_metric_learning_where_nothing_ties():
    generator = np.random.default_rng(3)
    embeddings, labels = generator.normal(size=(80, 6)).astype(np.float32), generator.integers(0, 7, 80)
    ours = MeanAveragePrecision().evaluate(EvaluationContext(EmbeddingSet(embeddings, labels), EuclideanSimilarity()))
    distances = np.linalg.norm(embeddings[:, None].astype(np.float64) - embeddings[None], axis=2)
    theirs = [
        average_precision_score(np.delete(labels == labels[q], q), -np.delete(distances[q], q)) for q in range(80)
    ]
    assert ours == {"map": pytest.approx(np.mean(theirs), abs=1e-12)}
    pml = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    calculator = pml.AccuracyCalculator(include=("mean_average_precision",), k=79, device=torch.device("cpu"))
    found = calculator.get_accuracy(torch.from_numpy(embeddings), torch.from_numpy(labels))
    assert ours == {"map": pytest.approx(found["mean_average_precision"], abs=1e-6)}


def test_it_keeps_the_contract_of_an_evaluator():
    check_evaluator(MeanAveragePrecision())


def test_without_any_match_it_is_an_error_not_a_number():
    context = EvaluationContext(EmbeddingSet(np.eye(3), np.arange(3)), EuclideanSimilarity())
    with pytest.raises(ValueError, match="none of the 3 queries"):
        MeanAveragePrecision().evaluate(context)
