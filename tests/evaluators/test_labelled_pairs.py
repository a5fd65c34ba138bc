from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from metricforge.evaluation import EvaluationContext
from metricforge.evaluators.labelled_pairs import labelled_pairs
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet

KINDS = ["one set", "two sets", "two sets of one numbering"]


def _context(kind: str, seed: int = 0) -> EvaluationContext:
    generator = np.random.default_rng(seed)

    def images(count: int) -> EmbeddingSet:
        ids = generator.permutation(40)[:count]
        return EmbeddingSet(generator.normal(size=(count, 2)), ids % 4, ids)  # an image's class follows from its id

    gallery = None if kind == "one set" else images(23)
    return EvaluationContext(images(17), EuclideanSimilarity(), gallery, shared_ids=kind.endswith("numbering"))


def _by_loop(context: EvaluationContext, positive: bool) -> set[tuple[int, int]]:
    pairs = set()
    for q, label in enumerate(context.queries.labels):
        for g, other in enumerate(context.gallery.labels):
            if (label == other) == positive and g != context.self_index[q]:
                pairs.add((min(q, g), max(q, g)) if context.searches_itself else (q, g))
    return pairs


def _found(context: EvaluationContext, pairs) -> list[tuple[int, int]]:
    both = zip(pairs.queries.tolist(), pairs.images.tolist(), strict=True)
    return [(min(q, g), max(q, g)) if context.searches_itself else (q, g) for q, g in both]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("positive", [True, False])
def test_all_pairs_are_those_of_a_loop_each_once(kind, positive):
    for seed in range(5):
        context = _context(kind, seed)
        expected = _by_loop(context, positive)
        pairs = labelled_pairs(context, positive=positive, limit=None, seed=0)
        found = _found(context, pairs)
        assert set(found) == expected
        assert pairs.available == len(found) == len(expected)
        assert (np.diff(pairs.queries) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("positive", [True, False])
def test_a_sample_has_as_many_distinct_pairs_as_it_may_and_says_how_many_there_are(kind, positive):
    context = _context(kind)
    expected = _by_loop(context, positive)
    pairs = labelled_pairs(context, positive=positive, limit=9, seed=3)
    assert len(set(_found(context, pairs))) == len(pairs.queries) == 9
    assert set(_found(context, pairs)) <= expected
    assert pairs.available == len(expected)
    again = labelled_pairs(context, positive=positive, limit=9, seed=3)
    assert np.array_equal(pairs.images, again.images)
    assert not np.array_equal(pairs.images, labelled_pairs(context, positive=positive, limit=9, seed=4).images)


def test_every_pair_is_drawn_about_equally_often():
    context = _context("one set")
    expected = _by_loop(context, positive=True)
    drawn = Counter(
        pair
        for seed in range(400)
        for pair in _found(context, labelled_pairs(context, positive=True, limit=len(expected) // 2, seed=seed))
    )
    assert drawn.keys() == expected
    assert 140 < min(drawn.values()) <= max(drawn.values()) < 260  # of 200 on average, within six deviations


def test_classes_of_one_image_have_no_positive_pair():
    context = EvaluationContext(EmbeddingSet(np.eye(4), np.arange(4)), EuclideanSimilarity())
    assert labelled_pairs(context, positive=True, limit=None, seed=0).available == 0
    assert labelled_pairs(context, positive=False, limit=None, seed=0).available == 6
