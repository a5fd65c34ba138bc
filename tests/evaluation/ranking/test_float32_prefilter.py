from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.evaluation.ranking import float32_prefilter
from metricforge.evaluation.ranking.candidates import MatchList
from metricforge.evaluation.ranking.float32_prefilter import Float32Prefilter
from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.evaluation.search.integer_scores import HammingScores
from metricforge.similarities import EuclideanSimilarity, HammingSimilarity

COUNT, DIM, FIRST = 300, 8, 12
GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.normal(size=(COUNT, DIM)).astype(np.float32)
IMAGES[50:80] += 20  # a crowd far away
LABELS = GENERATOR.integers(0, 60, COUNT)
EVERY = GENERATOR.integers(0, 9, COUNT)
QUERIES = torch.arange(40, 104)


def _prefilter(kind: str) -> Float32Prefilter:
    cpu = torch.device("cpu")
    source: InnerProductScores | HammingScores
    if kind == "hamming":
        source = HammingScores(None, IMAGES, HammingSimilarity(), cpu)
    else:
        source = InnerProductScores(None, IMAGES, EuclideanSimilarity(), cpu)
    return Float32Prefilter(source, torch.arange(COUNT), COUNT, FIRST, torch.from_numpy(EVERY))


def _matches() -> MatchList:
    pairs = [
        (row, image)
        for row, query in enumerate(QUERIES.tolist())
        for image in range(COUNT)
        if LABELS[image] == LABELS[query] and image != query
    ]
    row, image = torch.tensor(pairs).T
    return MatchList(row, image)


def _ranking(kind: str, query: int) -> list[int]:
    """All other images, nearest first, ties by index."""
    if kind == "hamming":
        distance = ((IMAGES > 0) != (IMAGES[query] > 0)).sum(axis=1)
    else:
        distance = ((IMAGES.astype(np.float64) - IMAGES[query].astype(np.float64)) ** 2).sum(axis=1)
    return sorted((image for image in range(COUNT) if image != query), key=lambda image: (distance[image], image))


@pytest.mark.parametrize("kind", ["hamming", "l2"])
@pytest.mark.parametrize(("crowded", "elements_at_once"), [(8, 2**22), (10**9, 100), (1, 2**22)])
def test_every_match_of_interest_is_named_with_all_images_above_it(monkeypatch, kind, crowded, elements_at_once):
    monkeypatch.setattr(float32_prefilter, "CROWDED", crowded)
    monkeypatch.setattr(float32_prefilter, "ELEMENTS_AT_ONCE", elements_at_once)
    matches = _matches()
    found = _prefilter(kind).nearest(QUERIES, matches)
    wanted = dict(zip(found.wanted.tolist(), range(len(found.wanted)), strict=True))
    assert not found.deep.any()
    seen = 0
    for row, query in enumerate(QUERIES.tolist()):
        ranking = _ranking(kind, query)
        candidates = dict(zip(found.image[found.row == row].tolist(), found.value[found.row == row], strict=True))
        its_matches = sorted(
            (ranking.index(image), nth) for nth, image in enumerate(matches.image.tolist()) if matches.row[nth] == row
        )
        for position, (above, nth) in enumerate(its_matches):
            if above < EVERY[query] or (position == 0 and above < FIRST):
                assert nth in wanted
            if nth not in wanted:
                continue
            seen += 1
            assert found.beyond[row] + sum(image in candidates for image in ranking[:above]) == above
            low, high = (bounds[wanted[nth]] for bounds in (found.low, found.high))
            assert all(candidates[image] >= low for image in ranking[:above] if image in candidates)
            assert all(candidates[image] <= high for image in ranking[above:] if image in candidates)
    assert seen > 10


@pytest.mark.parametrize("kind", ["hamming", "l2"])
def test_the_nearest_image_is_among_its_candidates(kind):
    found = _prefilter(kind).nearest(QUERIES, _matches())
    asked = torch.tensor([0, 7, 15, 63])
    nearest = found.nearest_candidates(asked)
    assert not nearest.unclear.any()
    for nth, row in enumerate(asked.tolist()):
        assert _ranking(kind, int(QUERIES[row]))[0] in nearest.image[nearest.row == nth].tolist()


def test_a_query_of_which_too_many_images_are_open_is_left_to_whole_rows():
    same = np.zeros((5000, 2), dtype=np.float32)
    source = InnerProductScores(None, same, EuclideanSimilarity(), torch.device("cpu"))
    prefilter = Float32Prefilter(source, torch.arange(5000), 5000, 3, torch.zeros(5000, dtype=torch.int64))
    found = prefilter.nearest(torch.arange(2), MatchList(torch.tensor([0, 1]), torch.tensor([9, 10])))
    assert found.deep.tolist() == [True, True]
    assert len(found.wanted) == len(found.row) == 0
    assert found.nearest_candidates(torch.tensor([1])).unclear.tolist() == [True]
