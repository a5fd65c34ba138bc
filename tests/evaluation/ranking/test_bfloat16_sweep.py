from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.evaluation.ranking import bfloat16_sweep
from metricforge.evaluation.ranking.bfloat16_sweep import Bands, sweep

COUNT, DIMENSIONS = 70, 8


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(bfloat16_sweep, "STRIP", 8)
    monkeypatch.setattr(bfloat16_sweep, "TILE", 16)


def _rows(sign: str) -> torch.Tensor:
    rows = torch.from_numpy(
        np.random.default_rng(0).integers(-2, 3, (COUNT, DIMENSIONS))
    ).float()  # many ties and zeros
    rows = rows.abs() + 1 if sign == "positive" else rows
    return rows.bfloat16()


def _bands(scores: np.ndarray, own: np.ndarray, most: int = COUNT) -> Bands:
    generator = np.random.default_rng(1)
    pairs = np.sort(generator.choice(scores.ravel(), (len(scores), 2)), axis=1)
    pairs[::5] = pairs[::5, :1]  # nothing but ties
    pairs[::7, 0] = np.inf  # nothing to keep
    pairs[::9, :] = 0.0, -0.0
    floor, ceiling = torch.from_numpy(pairs.T.astype(np.float32))
    return Bands(floor, ceiling, torch.from_numpy(own), torch.full((len(scores),), most))


@pytest.mark.parametrize("sign", ["positive", "any"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_counted_and_kept_is_what_whole_rows_show(sign, symmetric, threads):
    images = _rows(sign)
    queries = images if symmetric else images[5:40]
    scores = (queries.double() @ images.double().T).numpy()  # whole numbers below 256: exact in bfloat16
    own = np.arange(COUNT) if symmetric else np.where(np.arange(len(queries)) % 3 == 0, np.arange(len(queries)) + 5, -1)
    bands = _bands(scores, own)
    told: list[int] = []
    found = sweep(lambda start, stop: queries[start:stop], images, bands, symmetric, threads, told.append)
    assert sum(told) == len(queries)
    assert not found.too_many.any()
    for start, stop in ((0, 8), (6, 21), (30, 31), (0, len(queries))):
        kept = found.kept(start, stop)
        rows = torch.arange(stop - start)
        lowest = torch.full((stop - start,), -300.0)
        begin, end, row_end = kept.between(rows, lowest, -lowest)
        assert torch.equal(end, row_end)
        row, image = kept.images(begin, end)
        for query in range(start, stop):
            low, high = bands.floor[query].item(), bands.ceiling[query].item()
            others = np.arange(COUNT) != own[query]
            assert found.above[query] == ((scores[query] > high) & others).sum()
            inside = np.flatnonzero((scores[query] >= low) & (scores[query] <= high) & others)
            theirs = image[row == query - start].tolist()
            assert sorted(theirs) == inside.tolist()
            assert theirs == sorted(theirs, key=lambda place, q=query: (scores[q, place], place))


def test_bounds_between_the_kept_are_found_by_score_and_zero_has_no_sign():
    images = _rows("any")
    scores = (images.double() @ images.double().T).numpy()
    everything = torch.full((COUNT,), 200.0)
    bands = Bands(-everything, everything, torch.arange(COUNT), torch.full((COUNT,), COUNT))
    kept = sweep(lambda start, stop: images[start:stop], images, bands, True, 1, lambda count: None).kept(16, 32)
    for low, high in ((-3.0, 5.0), (0.0, 0.0), (-0.0, -0.0), (2.0, 1.0)):
        begin, end, _ = kept.between(torch.arange(16), torch.full((16,), low), torch.full((16,), high))
        for row in range(16):
            others = np.delete(scores[16 + row], 16 + row)
            assert end[row] - begin[row] == ((others >= low) & (others <= high)).sum()


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_query_that_would_keep_too_many_keeps_none_and_is_named(symmetric):
    images = _rows("positive")
    everything = torch.full((COUNT,), 200.0)
    most = torch.where(torch.arange(COUNT) % 4 == 1, 20, COUNT)
    bands = Bands(-everything, everything, torch.arange(COUNT), most)
    found = sweep(lambda start, stop: images[start:stop], images, bands, symmetric, 1, lambda count: None)
    assert np.array_equal(found.too_many, np.arange(COUNT) % 4 == 1)
    kept = found.kept(0, COUNT)
    begin, _, row_end = kept.between(torch.arange(COUNT), -everything, everything)
    assert torch.equal(row_end - begin, torch.where(torch.arange(COUNT) % 4 == 1, 0, COUNT - 1))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("spare", "is_too_many"), [(0, False), (-1, True)])
def test_a_query_may_keep_as_many_as_it_is_allowed_and_not_one_more(symmetric, spare, is_too_many):
    images = _rows("positive")
    everything = torch.full((COUNT,), 200.0)
    bands = Bands(-everything, everything, torch.arange(COUNT), torch.full((COUNT,), COUNT - 1 + spare))
    found = sweep(lambda start, stop: images[start:stop], images, bands, symmetric, 1, lambda count: None)
    assert (found.too_many == is_too_many).all()
    begin, _, row_end = found.kept(5, 40).between(torch.arange(35), -everything[:35], everything[:35])
    assert ((row_end - begin) == (0 if is_too_many else COUNT - 1)).all()


@pytest.mark.parametrize("sign", ["positive", "any"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_every_image_that_may_be_the_nearest_is_named(sign, symmetric, threads):
    images = _rows(sign)
    scores = (images.double() @ images.double().T).numpy()
    np.fill_diagonal(scores, -np.inf)
    bands = _bands(scores, np.arange(COUNT))
    error = torch.full((COUNT,), 1.5)
    look = (lambda start, stop: images[start:stop], images, bands, symmetric, threads, lambda count: None)
    assert sweep(*look).nearest is None
    nearest = sweep(*look, error).nearest
    for start, stop in ((0, COUNT), (9, 33)):
        row, image = nearest.of(start, stop)
        for query in range(start, stop):
            if not nearest.unclear[query]:
                possible = np.flatnonzero(scores[query] >= scores[query].max() - 3)
                assert set(possible.tolist()) <= set(image[row == query - start].tolist())
    assert not nearest.unclear.all()


def test_a_query_with_too_many_candidates_for_its_nearest_is_unclear(monkeypatch):
    monkeypatch.setattr(bfloat16_sweep, "MOST_CANDIDATES", 30)
    images = torch.ones(COUNT, DIMENSIONS).bfloat16()
    everything = torch.full((COUNT,), 200.0)
    bands = Bands(everything, everything, torch.arange(COUNT), torch.full((COUNT,), COUNT))
    look = (lambda start, stop: images[start:stop], images, bands, True, 1, lambda count: None)
    nearest = sweep(*look, torch.zeros(COUNT)).nearest
    assert nearest.unclear.all()
    assert len(nearest.of(0, COUNT)[0]) == 0
