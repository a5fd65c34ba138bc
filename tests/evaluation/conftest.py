"""Embedding sets that are hard to rank, and neighbours found for them by comparing everything with everything."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from metricforge.structures import EmbeddingSet


def _random() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    return generator.normal(size=(60, 7)), generator.integers(0, 9, 60)


def _grid_of_duplicates() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(2)
    return generator.integers(0, 3, (70, 2)).astype(float) + 1, generator.integers(0, 4, 70)


def _three_places_beyond_the_spare_candidates() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    places = np.array([[1.0, 0.0, 2.0], [0.5, 3.0, 1.0], [4.0, 4.0, -1.0]])
    return places[generator.integers(0, 3, 150)], generator.integers(0, 5, 150)


def _collapsed() -> tuple[np.ndarray, np.ndarray]:
    return np.full((90, 3), 0.3), np.arange(90) % 4


def _one_image_classes() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    return generator.normal(size=(30, 3)), np.concatenate([np.arange(20), np.full(10, 99)])


def _one_class() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(5).normal(size=(25, 4)), np.zeros(25, dtype=np.int64)


def _two_images() -> tuple[np.ndarray, np.ndarray]:
    return np.array([[1.0, 2.0], [1.0, 2.0]]), np.array([3, 3])


def _duplicate_of_another_class() -> tuple[np.ndarray, np.ndarray]:
    return np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, 5.0]]), np.array([0, 1, 0, 1])


SETS = (
    _random,
    _grid_of_duplicates,
    _three_places_beyond_the_spare_candidates,
    _collapsed,
    _one_image_classes,
    _one_class,
    _two_images,
    _duplicate_of_another_class,
)


@pytest.fixture(params=SETS, ids=lambda make: make.__name__.strip("_"))
def hard_set(request: pytest.FixtureRequest) -> EmbeddingSet:
    embeddings, labels = request.param()
    ids = np.random.default_rng(9).permutation(len(labels)) + 1000  # ids that are no positions
    return EmbeddingSet(embeddings.astype(np.float32), labels.astype(np.int64), ids=ids)


def _score(kind: str, x: np.ndarray, y: np.ndarray) -> float:
    if kind == "cosine":
        return math.fsum(a * b for a, b in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))
    return -math.fsum((a - b) ** 2 for a, b in zip(x, y, strict=True))


@pytest.fixture
def brute_force() -> Callable[..., list[list[int]]]:
    """Full rankings by Python's sort on float64 scores of every pair, ties by index."""

    def rank(kind: str, queries: np.ndarray, gallery: np.ndarray, exclude_self: bool) -> list[list[int]]:
        rankings = []
        for q, query in enumerate(queries.astype(np.float64)):
            others = [g for g in range(len(gallery)) if not (exclude_self and g == q)]
            scores = [_score(kind, query, image) for image in gallery.astype(np.float64)]
            rankings.append(sorted(others, key=lambda g, scores=scores: (-scores[g], g)))
        return rankings

    return rank


def _overlapping_sets() -> tuple[EmbeddingSet, EmbeddingSet]:
    """Queries of which some stand in the gallery under the same id, some have a class it lacks, and duplicates."""
    generator = np.random.default_rng(6)
    places = generator.integers(0, 3, (40, 3)).astype(np.float32) + 1
    labels = generator.integers(0, 6, 40)
    labels[3] = 77
    queries = EmbeddingSet(places[:20], labels[:20], ids=np.arange(20))
    gallery = EmbeddingSet(places[10:], labels[10:], ids=np.arange(10, 40))
    return queries, gallery


@pytest.fixture
def overlapping_sets() -> tuple[EmbeddingSet, EmbeddingSet]:
    return _overlapping_sets()


@pytest.fixture
def rankings_of_overlapping(
    overlapping_sets: tuple[EmbeddingSet, EmbeddingSet], brute_force: Callable[..., list[list[int]]]
) -> list[list[bool]]:
    """For each query with a match: whether each of the ranked others is of its class."""
    queries, gallery = overlapping_sets
    rows = brute_force("euclidean", queries.embeddings, gallery.embeddings, False)
    right = [
        [bool(gallery.labels[g] == queries.labels[q]) for g in row if gallery.ids[g] != queries.ids[q]]
        for q, row in enumerate(rows)
    ]
    assert len([row for row in right if any(row)]) < len(right)
    return [row for row in right if any(row)]


@pytest.fixture
def rankings_of_hard_set(hard_set: EmbeddingSet, brute_force: Callable[..., list[list[int]]]) -> list[list[bool]]:
    """The same for a hard set that is searched in itself."""
    labels = hard_set.labels
    rows = brute_force("euclidean", hard_set.embeddings, hard_set.embeddings, True)
    right = [[bool(labels[g] == labels[q]) for g in row] for q, row in enumerate(rows)]
    return [row for row in right if any(row)]
