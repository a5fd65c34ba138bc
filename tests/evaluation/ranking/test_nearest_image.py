from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.evaluation.ranking import nearest_image
from metricforge.evaluation.ranking.nearest_image import nearest_by_double, nearest_in_rows, nearest_of_candidates
from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.similarities import EuclideanSimilarity

# Differences that float32 tells only by subtracting first, with a duplicate of each image behind all of them.
SPOTS = 1 + 1e-6 * np.random.default_rng(0).normal(size=(30, 4))
GALLERY = np.concatenate([SPOTS, SPOTS]).astype(np.float32)
QUERIES = (1 + 1e-6 * np.random.default_rng(1).normal(size=(9, 4))).astype(np.float32)


@pytest.fixture
def source() -> InnerProductScores:
    return InnerProductScores(QUERIES, GALLERY, EuclideanSimilarity(), torch.device("cpu"))


def _nearest(query: int, among: list[int]) -> int:
    """The image with the smallest float64 distance, the first of equal ones."""
    distance = ((QUERIES[query].astype(np.float64) - GALLERY.astype(np.float64)) ** 2).sum(axis=1)
    return min(among, key=lambda image: (distance[image], image))


def test_the_nearest_of_candidates_is_that_of_float64_with_ties_by_index(source):
    generator = np.random.default_rng(2)
    queries = torch.tensor([8, 2, 5, 0])
    row = torch.from_numpy(np.append(np.arange(4), generator.integers(0, 4, 40)))  # in no order, one or more each
    image = torch.from_numpy(generator.integers(0, 60, len(row)))
    expected = [_nearest(query, image[row == nth].tolist()) for nth, query in enumerate(queries.tolist())]
    assert nearest_of_candidates(source, queries, row, image).tolist() == expected


def test_of_duplicates_alone_the_first_is_nearest(source):
    queries, row = torch.tensor([3, 4]), torch.tensor([0, 1, 0, 1])
    assert nearest_of_candidates(source, queries, row, torch.tensor([40, 11, 10, 41])).tolist() == [10, 11]


def test_one_candidate_each_needs_no_comparison_and_no_query_no_answer():
    queries = torch.tensor([3, 1])
    assert nearest_of_candidates(None, queries, torch.tensor([1, 0]), torch.tensor([7, 9])).tolist() == [9, 7]
    nothing = torch.empty(0, dtype=torch.int64)
    assert nearest_of_candidates(None, nothing, nothing, nothing).tolist() == []


def test_final_scores_are_only_compared():
    scores = torch.tensor([[3, 9, 4], [8, 1, 0]])
    assert nearest_in_rows(None, torch.tensor([0, 1]), scores).tolist() == [1, 0]


def test_what_a_row_leaves_open_is_compared_in_float64(source):
    scores = torch.zeros(len(QUERIES), len(GALLERY))  # a search that tells nothing at all
    queries = torch.arange(len(QUERIES))
    scores[4, 20:] = -9  # but that these are far
    found = nearest_in_rows(source, queries, scores, torch.full((len(QUERIES),), 1.0))
    every = list(range(len(GALLERY)))
    assert found.tolist() == [_nearest(query, every[:20] if query == 4 else every) for query in range(len(QUERIES))]


@pytest.mark.parametrize("elements_at_once", [1, 150, 2**22])
def test_whole_rows_in_float64_find_the_nearest_other_image(source, monkeypatch, elements_at_once):
    monkeypatch.setattr(nearest_image, "ELEMENTS_AT_ONCE", elements_at_once)
    queries = torch.tensor([6, 0, 3, 1])
    every = set(range(len(GALLERY)))
    self_index = torch.tensor([_nearest(6, list(every)), -1, _nearest(3, list(every)), 59])
    expected = [
        _nearest(query, sorted(every - {itself}))
        for query, itself in zip(queries.tolist(), self_index.tolist(), strict=True)
    ]
    assert nearest_by_double(source, queries, self_index).tolist() == expected
