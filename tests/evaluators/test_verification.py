from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from metricforge.evaluation import EvaluationContext, describe_protocol, run_evaluation
from metricforge.evaluators import Verification
from metricforge.evaluators.labelled_pairs import labelled_pairs
from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity
from metricforge.structures import EmbeddingSet
from metricforge.testing import check_evaluator


def all_pairs(context: EvaluationContext) -> list[tuple[int, int, bool]]:
    queries, gallery = context.queries, context.gallery
    if context.searches_itself:
        places = itertools.combinations(range(len(queries)), 2)
    else:
        places = itertools.product(range(len(queries)), range(len(gallery)))
    return [
        (q, g, bool(queries.labels[q] == gallery.labels[g]))
        for q, g in places
        if context.searches_itself or not context.task.shared_ids or queries.ids[q] != gallery.ids[g]
    ]


def brute_force_rates(positive: list[float], negative: list[float]) -> list[tuple[float, float]]:
    """False and true accept rates of every threshold, from the strictest on."""
    rates = [(0.0, 0.0)]
    for threshold in sorted({*positive, *negative}, reverse=True):
        false_accepts = sum(s >= threshold for s in negative) / len(negative)
        rates.append((false_accepts, sum(s >= threshold for s in positive) / len(positive)))
    return rates


def brute_force_scores(context: EvaluationContext, score, fars: tuple[float, ...]) -> dict[str, float]:
    by_kind: dict[bool, list[float]] = {True: [], False: []}
    for q, g, same in all_pairs(context):
        by_kind[same].append(
            score(context.queries.embeddings[q].astype(float), context.gallery.embeddings[g].astype(float))
        )
    positive, negative = by_kind[True], by_kind[False]
    wins = sum((p > n) + (p == n) / 2 for p in positive for n in negative)
    rates = brute_force_rates(positive, negative)
    for (x0, y0), (x1, y1) in itertools.pairwise(rates):
        if x1 + y1 >= 1:  # false rejects 1 - y no longer exceed false accepts x
            low, high = 0.0, 1.0
            for _ in range(100):
                middle = (low + high) / 2
                below = x0 + middle * (x1 - x0) + y0 + middle * (y1 - y0) < 1
                low, high = (middle, high) if below else (low, middle)
            eer = x0 + high * (x1 - x0)
            break
    expected = {"roc_auc": wins / len(positive) / len(negative), "eer": eer}
    return expected | {f"tar@far={far:g}": max(tar for x, tar in rates if x <= far) for far in fars}


def euclidean(x, y) -> float:
    return -float(((x - y) ** 2).sum())


def small(images: EmbeddingSet) -> EmbeddingSet:
    return images.where(np.arange(len(images)) < 40)


def test_it_equals_a_loop_over_all_pairs_and_thresholds(hard_set):
    images = small(hard_set)
    context = EvaluationContext(images, EuclideanSimilarity())
    if len({same for _, _, same in all_pairs(context)}) < 2:
        with pytest.raises(ValueError, match="there is no pair of two classes among"):
            Verification().evaluate(context)
        return
    expected = brute_force_scores(context, euclidean, (0.1, 0.01))
    assert Verification((0.1, 0.01)).evaluate(context) == pytest.approx(expected, abs=1e-12)


def test_it_equals_a_loop_with_a_gallery_that_holds_some_queries(overlapping_sets):
    queries, gallery = overlapping_sets
    for shared in (True, False):
        context = EvaluationContext(queries, EuclideanSimilarity(), gallery, shared_ids=shared)
        expected = brute_force_scores(context, euclidean, (0.2,))
        assert Verification((0.2,)).evaluate(context) == pytest.approx(expected, abs=1e-12)


def hamming(x, y) -> float:
    return -float(((x > 0) != (y > 0)).sum())


class LearnedScore(Similarity):
    def pairwise(self, x, y):
        return -(x[:, None] - y[None]).abs().sum(dim=2)


@pytest.mark.parametrize(
    ("similarity", "score"),
    [
        (CosineSimilarity(), lambda x, y: float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))),
        (HammingSimilarity(), hamming),
        (LearnedScore(), lambda x, y: -float(np.abs(x - y).sum())),
    ],
)
def test_pairs_are_scored_as_the_similarity_ranks_them(similarity, score):
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 4, 30)
    images = EmbeddingSet((generator.normal(size=(30, 16)) + np.eye(16)[labels]).astype(np.float32), labels)
    context = EvaluationContext(images, similarity)
    expected = brute_force_scores(context, score, (0.05,))
    assert Verification((0.05,)).evaluate(context) == pytest.approx(expected, abs=1e-6)
    pairs = all_pairs(context)
    theirs = roc_auc_score(
        [same for *_, same in pairs],
        [score(images.embeddings[q].astype(float), images.embeddings[g].astype(float)) for q, g, _ in pairs],
    )
    assert expected["roc_auc"] == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("positive", [True, False])
def test_all_pairs_are_those_of_a_loop(hard_set, overlapping_sets, positive):
    contexts = [
        EvaluationContext(hard_set, EuclideanSimilarity()),
        EvaluationContext(overlapping_sets[0], EuclideanSimilarity(), overlapping_sets[1], shared_ids=True),
        EvaluationContext(overlapping_sets[0], EuclideanSimilarity(), overlapping_sets[1]),
    ]
    for context in contexts:
        found = labelled_pairs(context, positive=positive, limit=None, seed=0)
        pairs = list(zip(found.queries.tolist(), found.images.tolist(), strict=True))
        if context.searches_itself:
            pairs = [(min(pair), max(pair)) for pair in pairs]
        assert sorted(pairs) == [(q, g) for q, g, same in all_pairs(context) if same == positive]
        assert found.available == len(pairs)
        assert (np.diff(found.queries) >= 0).all()


def test_a_sample_is_of_distinct_pairs_and_even(hard_set):
    context = EvaluationContext(
        EmbeddingSet(np.random.default_rng(0).normal(size=(24, 2)), np.arange(24) % 3), EuclideanSimilarity()
    )
    drawn = np.zeros((24, 24))
    for seed in range(400):
        found = labelled_pairs(context, positive=False, limit=48, seed=seed)
        assert found.available == 3 * 8 * 8
        pairs = set(zip(found.queries.tolist(), found.images.tolist(), strict=True))
        assert len(pairs) == 48
        for q, g in pairs:
            drawn[min(q, g), max(q, g)] += 1
    rates = drawn[drawn > 0] / 400
    assert len(rates) == 192
    assert np.abs(rates - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 400)


def test_a_sample_is_seeded_and_its_size_is_reported():
    generator = np.random.default_rng(1)
    labels = np.arange(60) % 4
    context = EvaluationContext(
        EmbeddingSet(generator.normal(size=(60, 3)) + labels[:, None], labels), EuclideanSimilarity()
    )
    first, again, other = (Verification(pairs=200, seed=seed).evaluate(context) for seed in (0, 0, 1))
    assert first == again != other
    everything = Verification(pairs=None).evaluate(context)
    assert first["roc_auc"] == pytest.approx(everything["roc_auc"], abs=0.1)
    counts = {
        "positive_pairs": 200,
        "positive_pairs_available": 4 * 15 * 14 // 2,
        "negative_pairs": 200,
        "negative_pairs_available": 6 * 15 * 15,
    }
    protocol = describe_protocol(run_evaluation(context, [Verification(pairs=200)]))
    written = json.loads(json.dumps(protocol))["evaluators"][0]
    assert written.pop("scores") == ["roc_auc", "eer", "tar@far=0.01", "tar@far=0.001"]
    assert written == {"type": "Verification", "fars": [0.01, 0.001], "at_most_pairs": 200, "seed": 0, "counts": counts}


def test_it_keeps_the_contract_of_an_evaluator():
    check_evaluator(Verification())


@pytest.mark.parametrize("fars", [(), (0.1, 0.1), (-0.1,), (1.5,), ("a",)])
def test_rates_that_are_none_are_refused(fars):
    with pytest.raises(ValueError, match=r"fars must be distinct rates in 0\.\.1"):
        Verification(fars)


def test_no_pairs_are_refused_and_a_missing_kind_is_named():
    with pytest.raises(ValueError, match="pairs must be at least 1, or None"):
        Verification(pairs=0)
    alone = EvaluationContext(EmbeddingSet(np.eye(3), np.arange(3)), EuclideanSimilarity())
    with pytest.raises(ValueError, match="no pair of one class among 3 queries and 3 gallery images"):
        Verification().evaluate(alone)
