from __future__ import annotations

import numpy as np
import pytest

from metricforge.evaluation import EvaluationContext, evaluate
from metricforge.evaluators import CMC, ReRanked, SingleShotCMC
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.structures import EmbeddingSet
from metricforge.testing import check_evaluator


def _context(points: list[float], labels: list[int], gallery: tuple[list[float], list[int]]) -> EvaluationContext:
    sets = [
        EmbeddingSet(np.array(values)[:, None], np.array(classes)) for values, classes in ((points, labels), gallery)
    ]
    return EvaluationContext(sets[0], EuclideanSimilarity(), sets[1])


def test_the_contract_holds():
    check_evaluator(SingleShotCMC((1, 3), trials=20))


def test_with_one_image_per_class_nothing_is_drawn_and_it_is_cmc():
    generator = np.random.default_rng(0)
    points, labels = generator.normal(size=30).tolist(), generator.integers(0, 9, 30).tolist()
    context = _context(points, labels, (generator.normal(size=8).tolist(), list(range(8))))  # class 8 has no match
    single = evaluate(context, [SingleShotCMC((1, 2, 5), trials=3)])
    plain = evaluate(context, [CMC((1, 2, 5))])
    assert single == {f"cmc_single@{k}": pytest.approx(plain[f"cmc@{k}"]) for k in (1, 2, 5)}


def test_a_hand_worked_draw_of_two_matches_counts_each_about_half_of_the_time():
    # The query at 0 has matches at 1 and 5, and one non-match at 3: rank 1 with the first, rank 2 with the second.
    context = _context([0.0], [0], ([1.0, 5.0, 3.0], [0, 0, 1]))
    scores = evaluate(context, [SingleShotCMC((1, 2), trials=4000)])
    assert scores["cmc_single@1"] == pytest.approx(0.5, abs=0.04)  # five deviations
    assert scores["cmc_single@2"] == 1


def test_draws_follow_from_the_seed():
    generator = np.random.default_rng(0)
    gallery = (generator.normal(size=40).tolist(), generator.integers(0, 5, 40).tolist())
    context = _context(generator.normal(size=20).tolist(), generator.integers(0, 5, 20).tolist(), gallery)
    first, again, other = (evaluate(context, [SingleShotCMC((1,), trials=7, seed=seed)]) for seed in (3, 3, 4))
    assert first == again != other


def test_a_shortlist_and_a_k_beyond_the_classes_are_refused():
    images = EmbeddingSet(np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 5)
    context = EvaluationContext(images, EuclideanSimilarity())
    with pytest.raises(ValueError, match=r"must be at most 5, the gallery's classes, got \[1, 6\]"):
        evaluate(context, [SingleShotCMC((1, 6))])
    with pytest.raises(ValueError, match="this one ends after a shortlist; leave it out"):
        evaluate(context, [ReRanked(CosineSimilarity(), [SingleShotCMC((1,))], shortlist=4, agreement=())])
