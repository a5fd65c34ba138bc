from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.evaluation.ranking import bfloat16_prefilter, bfloat16_sweep
from metricforge.evaluation.ranking.bfloat16_prefilter import Bfloat16Prefilter
from metricforge.evaluation.ranking.candidates import MatchList, PrefilterResult
from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity

COUNT, DIM, FIRST = 300, 8, 12
GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.normal(size=(COUNT, DIM)).astype(np.float32)
LABELS = GENERATOR.integers(0, 60, COUNT)
EVERY = GENERATOR.integers(0, 9, COUNT)


@pytest.fixture(autouse=True)
def small_sample_and_tiles(monkeypatch):
    monkeypatch.setattr(bfloat16_prefilter, "LEAST_SAMPLE", 40)
    monkeypatch.setattr(bfloat16_prefilter, "KEEPING", 1)
    monkeypatch.setattr(bfloat16_sweep, "STRIP", 16)
    monkeypatch.setattr(bfloat16_sweep, "TILE", 48)


def _matches(start: int, stop: int) -> MatchList:
    pairs = [
        (query - start, image)
        for query in range(start, stop)
        for image in range(COUNT)
        if LABELS[image] == LABELS[query] and image != query
    ]
    row, image = torch.tensor(pairs).T
    return MatchList(row, image)


def _distances(similarity, query: int) -> np.ndarray:
    rows = IMAGES.astype(np.float64)
    if isinstance(similarity, CosineSimilarity):
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows.astype(np.float32).astype(np.float64)
        return -rows @ rows[query]
    return ((rows - rows[query]) ** 2).sum(axis=1)


def _swept(similarity, threads: int = 1) -> Bfloat16Prefilter:
    source = InnerProductScores(None, IMAGES, similarity, torch.device("cpu"))
    prefilter = Bfloat16Prefilter(source, torch.arange(COUNT), FIRST, torch.from_numpy(EVERY), nearest=True)
    assert all(
        prefilter.plan(torch.arange(start, start + 100), _matches(start, start + 100)) for start in (0, 100, 200)
    )
    told: list[int] = []
    assert prefilter.sweep(0, COUNT, threads, told.append)
    assert sum(told) == COUNT
    return prefilter


def _assert_result_holds(similarity, found: PrefilterResult, matches: MatchList, start: int, stop: int) -> int:
    wanted = set(found.wanted.tolist())
    for row, query in enumerate(range(start, stop)):
        if found.deep[row]:
            continue
        distance = _distances(similarity, query)
        ranking = sorted((image for image in range(COUNT) if image != query), key=lambda image: distance[image])
        candidates = set(found.image[found.row == row].tolist())
        its_matches = sorted(
            (ranking.index(image), nth) for nth, image in enumerate(matches.image.tolist()) if matches.row[nth] == row
        )
        for position, (above, nth) in enumerate(its_matches):
            if above < EVERY[query] or (position == 0 and above < FIRST):
                assert nth in wanted
            if nth in wanted:
                assert found.beyond[row] + sum(image in candidates for image in ranking[:above]) == above
    return len(wanted)


@pytest.mark.parametrize("similarity", [EuclideanSimilarity(), CosineSimilarity()])
@pytest.mark.parametrize("threads", [1, 2])
def test_every_match_of_interest_is_named_with_all_images_above_it(similarity, threads):
    prefilter = _swept(similarity, threads)
    named = 0
    for start, stop in ((0, 64), (64, 201), (201, 300)):
        matches = _matches(start, stop)
        found = prefilter.nearest(torch.arange(start, stop), matches)
        named += _assert_result_holds(similarity, found, matches, start, stop)
        assert found.deep.float().mean() < 0.5
    assert named > 50


@pytest.mark.parametrize("similarity", [EuclideanSimilarity(), CosineSimilarity()])
def test_the_nearest_image_is_among_its_candidates(similarity):
    found = _swept(similarity).nearest(torch.arange(100, 180), _matches(100, 180))
    asked = torch.tensor([0, 3, 50, 79])
    nearest = found.nearest_candidates(asked)
    assert not nearest.unclear.all()
    for nth, row in enumerate(asked.tolist()):
        distance = _distances(similarity, 100 + row)
        distance[100 + row] = np.inf
        if not nearest.unclear[nth]:
            assert int(distance.argmin()) in nearest.image[nearest.row == nth].tolist()


def test_products_that_break_their_bound_are_noticed_before_anything_is_swept(monkeypatch):
    source = InnerProductScores(None, IMAGES, EuclideanSimilarity(), torch.device("cpu"))
    rows_and_error = InnerProductScores.bfloat16_queries

    def wrong(self, queries):
        rows, error = rows_and_error(self, queries)
        return rows * 1.2, error

    prefilter = Bfloat16Prefilter(source, torch.arange(COUNT), FIRST, torch.from_numpy(EVERY))
    monkeypatch.setattr(InnerProductScores, "bfloat16_queries", wrong)
    assert not prefilter.plan(torch.arange(100), _matches(0, 100))


def test_only_what_was_planned_is_swept():
    source = InnerProductScores(None, IMAGES, EuclideanSimilarity(), torch.device("cpu"))
    prefilter = Bfloat16Prefilter(source, torch.arange(COUNT), FIRST, torch.from_numpy(EVERY))
    assert prefilter.plan(torch.arange(100), _matches(0, 100))
    told: list[int] = []
    assert not prefilter.sweep(100, 200, 1, told.append)
    assert told == []
    assert prefilter.sweep(0, 100, 1, told.append)
    assert sum(told) == 100
