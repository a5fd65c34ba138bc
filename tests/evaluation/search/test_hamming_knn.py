from __future__ import annotations

import numpy as np
import pytest

from metricforge.evaluation import exact_knn
from metricforge.similarities import HammingSimilarity


def embeddings_of(kind: str, count: int = 120) -> np.ndarray:
    generator = np.random.default_rng(0)
    if kind == "random":
        return generator.normal(size=(count, 64))
    if kind == "few distances":  # 8 bits: every place is a tie far beyond the spare candidates
        return generator.normal(size=(count, 8))
    if kind == "duplicates":
        return generator.normal(size=(5, 16))[generator.integers(0, 5, count)]
    return np.full((count, 8), 0.5)


def brute_force(queries: np.ndarray, gallery: np.ndarray, k: int, exclude_self: bool) -> list[list[int]]:
    rankings = []
    for q, query in enumerate(queries):
        distance = [sum(bool(a > 0) != bool(b > 0) for a, b in zip(query, image, strict=True)) for image in gallery]
        others = [g for g in range(len(gallery)) if not (exclude_self and g == q)]
        rankings.append(sorted(others, key=lambda g, distance=distance: (distance[g], g))[:k])
    return rankings


@pytest.mark.parametrize("kind", ["random", "few distances", "duplicates", "collapsed"])
@pytest.mark.parametrize("k", [1, 5, 40, 119])
def test_neighbours_of_a_set_in_itself_equal_a_brute_force_ranking_with_ties_by_index(kind, k):
    images = embeddings_of(kind)
    found = exact_knn(None, images, HammingSimilarity(), k)
    assert found.tolist() == brute_force(images, images, k, True)


@pytest.mark.parametrize("kind", ["random", "few distances", "duplicates", "collapsed"])
@pytest.mark.parametrize("k", [1, 7, 120])
def test_neighbours_in_a_gallery_equal_a_brute_force_ranking_with_ties_by_index(kind, k):
    gallery = embeddings_of(kind)
    queries = np.concatenate([gallery[:6], -gallery[:2]])
    found = exact_knn(queries, gallery, HammingSimilarity(), k)
    assert found.tolist() == brute_force(queries, gallery, k, False)


@pytest.mark.parametrize("distances_at_once", [1, 1000, 5003])
def test_the_result_does_not_depend_on_the_block_size(distances_at_once):
    images = embeddings_of("few distances", 300)
    in_one = exact_knn(None, images, HammingSimilarity(), 9)
    found = exact_knn(None, images, HammingSimilarity(), 9, scores_at_once=distances_at_once)
    assert (found == in_one).all()


def test_the_packed_search_ranks_as_pairwise_does():
    images = embeddings_of("random")

    class Searched(HammingSimilarity):
        search = None

    by_pairwise = exact_knn(None, images, Searched(), 20)
    assert (exact_knn(None, images, HammingSimilarity(), 20) == by_pairwise).all()


def test_a_size_that_fills_no_bytes_is_refused():
    with pytest.raises(ValueError, match=r"dim \(12\) must be a multiple of 8"):
        exact_knn(None, np.ones((4, 12)), HammingSimilarity(), 1)
