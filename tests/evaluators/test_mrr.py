from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators import MRR, ReRanked
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet
from metricforge.testing import check_evaluator


def test_mrr_equals_a_loop_over_full_rankings(hard_set, rankings_of_hard_set):
    expected = np.mean([1 / (row.index(True) + 1) for row in rankings_of_hard_set])
    scores = MRR().evaluate(EvaluationContext(hard_set, EuclideanSimilarity()))
    assert scores == {"mrr": pytest.approx(expected, abs=1e-12)}


def test_mrr_with_a_gallery_leaves_the_query_and_classes_that_the_gallery_lacks_out(
    overlapping_sets, rankings_of_overlapping
):
    queries, gallery = overlapping_sets
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery, shared_ids=True)
    expected = np.mean([1 / (row.index(True) + 1) for row in rankings_of_overlapping])
    assert MRR().evaluate(context) == {"mrr": pytest.approx(expected, abs=1e-12)}


def test_mrr_equals_pytorch_metric_learning_where_nothing_ties():
    generator = np.random.default_rng(3)
    embeddings, labels = generator.normal(size=(80, 6)).astype(np.float32), generator.integers(0, 7, 80)
    ours = MRR().evaluate(EvaluationContext(EmbeddingSet(embeddings, labels), EuclideanSimilarity()))
    pml = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    names = ("mean_reciprocal_rank", "precision_at_1")  # alone, the first lacks the neighbours it reads
    calculator = pml.AccuracyCalculator(include=names, k=79, device=torch.device("cpu"))
    found = calculator.get_accuracy(torch.from_numpy(embeddings), torch.from_numpy(labels))
    assert ours == {"mrr": pytest.approx(found["mean_reciprocal_rank"], abs=1e-6)}


def test_it_keeps_the_contract_of_an_evaluator():
    check_evaluator(MRR())


def test_a_re_ordered_shortlist_is_no_whole_ranking():
    images = EmbeddingSet(np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 3)
    evaluator = ReRanked(EuclideanSimilarity(), [MRR()], shortlist=5, agreement=())
    with pytest.raises(ValueError, match=r"MRR read .* ReRanked orders a shortlist of 5; leave it out"):
        evaluator.evaluate(EvaluationContext(images, EuclideanSimilarity()))
