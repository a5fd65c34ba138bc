from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.evaluation.search import row_counts
from metricforge.evaluation.search.row_counts import (
    columns_in_some_band,
    count_larger,
    indices_of,
    indices_within,
    larger_in_rows,
    limits,
)

KINDS = [torch.float32, torch.float64, torch.int32, torch.int64]


def _scores(dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(-6, 7, (9, 50))).to(dtype)  # many ties


@pytest.mark.parametrize("dtype", KINDS)
def test_limits_are_below_and_above_every_score(dtype):
    low, high = limits(dtype)
    of_type = torch.iinfo(dtype) if not dtype.is_floating_point else torch.finfo(dtype)
    assert low <= of_type.min
    assert high >= of_type.max


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("most", [1, 5, row_counts.THRESHOLDS, row_counts.THRESHOLDS + 6])
def test_larger_scores_are_counted_as_by_a_loop_whether_rows_are_compared_or_sorted(dtype, most):
    scores = _scores(dtype)
    generator = np.random.default_rng(1)
    row = torch.from_numpy(np.sort(np.append(generator.integers(0, 8, 20), np.full(most, 3))))  # no bound for row 8
    low = torch.from_numpy(generator.integers(-7, 7, len(row))).to(dtype)
    high = low + 2
    above, reached = count_larger(scores, row, low, high)
    values = scores.tolist()
    assert above.tolist() == [sum(v > h for v in values[r]) for r, h in zip(row.tolist(), high.tolist(), strict=True)]
    assert reached.tolist() == [sum(v >= b for v in values[r]) for r, b in zip(row.tolist(), low.tolist(), strict=True)]


@pytest.mark.parametrize("dtype", KINDS)
def test_rows_are_counted_in_the_order_asked_for_above_a_threshold_or_from_it_on(dtype):
    scores = _scores(dtype)
    rows, threshold = torch.tensor([5, 0, 5]), torch.tensor([0, 2, -3]).to(dtype)
    expected = [(scores[row].tolist(), limit.item()) for row, limit in zip(rows, threshold, strict=True)]
    above = larger_in_rows(scores, rows, threshold, strictly=True)
    reached = larger_in_rows(scores, rows, threshold, strictly=False)
    assert above.tolist() == [sum(value > limit for value in row) for row, limit in expected]
    assert reached.tolist() == [sum(value >= limit for value in row) for row, limit in expected]


def test_columns_of_several_bands_are_found_once_with_both_ends():
    scores = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    low, high = torch.tensor([5.0, 1.0, 1.5]), torch.tensor([5.5, 2.0, 3.0])
    assert columns_in_some_band(scores, low, high).tolist() == [1, 2, 3, 5]


def test_indices_of_flags_count_row_after_row():
    assert indices_of(torch.tensor([[False, True, False], [True, False, True]])).tolist() == [1, 3, 5]


@pytest.mark.parametrize("flags_at_once", [1, 100, 2**20])
@pytest.mark.parametrize("dtype", KINDS)
def test_what_is_within_bounds_is_named_and_what_is_above_counted_in_parts_of_any_size(
    monkeypatch, flags_at_once, dtype
):
    monkeypatch.setattr(row_counts, "FLAGS_AT_ONCE", flags_at_once)
    scores = _scores(dtype)
    rows = torch.tensor([7, 2, 4])
    low, high = torch.tensor([-1, 3, 9]).to(dtype), torch.tensor([2, 3, 9]).to(dtype)
    row, column, above = indices_within(scores, rows, low, high)
    expected = [
        (r, c)
        for r, least, most in zip(rows.tolist(), low.tolist(), high.tolist(), strict=True)
        for c in range(50)
        if least <= scores[r, c] <= most
    ]
    assert list(zip(row.tolist(), column.tolist(), strict=True)) == expected
    assert above.tolist() == [int((scores[r] > h).sum()) for r, h in zip(rows.tolist(), high.tolist(), strict=True)]


def test_no_rows_give_nothing():
    nothing = torch.empty(0, dtype=torch.int64)
    row, column, above = indices_within(_scores(torch.float32), nothing, torch.empty(0), torch.empty(0))
    assert (len(row), len(column), len(above)) == (0, 0, 0)
