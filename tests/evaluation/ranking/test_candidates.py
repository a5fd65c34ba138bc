from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.evaluation.ranking.candidates import ANY_FLOAT, Candidates

ROWS = 4


def _candidates(kind: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Rows, columns and scores in no order; no candidate in row 2."""
    generator = np.random.default_rng(0)
    row = torch.from_numpy(generator.choice([0, 1, 3], 60))
    column = torch.from_numpy(generator.permutation(60))
    score = torch.from_numpy(generator.integers(-12, 1, 60))  # many ties
    if kind == "integers":
        return row, column, score.int(), 13
    return row, column, torch.where(score == 0, -0.0, score / 7 + 0.5).float(), ANY_FLOAT


@pytest.mark.parametrize("kind", ["integers", "floats of both signs"])
def test_ranges_of_scores_hold_what_a_loop_finds_in_them(kind):
    row, column, score, span = _candidates(kind)
    candidates = Candidates(row, column, score, ROWS, span)
    asked = torch.arange(ROWS).repeat_interleave(3)
    bounds = score.sort().values
    low, high = bounds[[5, 20, 59] * ROWS], bounds[[40, 20, 2] * ROWS]  # a range, one score, and nothing
    start, end, row_end = candidates.between(asked, low, high)
    for nth, one in enumerate(asked.tolist()):
        its_scores = score[row == one]
        inside = set(column[(row == one) & (score >= low[nth]) & (score <= high[nth])].tolist())
        assert set(candidates.column[start[nth] : end[nth]].tolist()) == inside
        assert row_end[nth] == (row <= one).sum()
        if low[nth] <= high[nth]:
            assert row_end[nth] - end[nth] == (its_scores > high[nth]).sum()


def test_minus_zero_and_zero_are_the_same_score():
    candidates = Candidates(torch.zeros(2, dtype=torch.int64), torch.arange(2), torch.tensor([0.0, -0.0]), 1, ANY_FLOAT)
    start, end, _ = candidates.between(torch.zeros(2, dtype=torch.int64), torch.tensor([0.0, -0.0]), torch.zeros(2))
    assert (end - start).tolist() == [2, 2]


def test_a_candidate_of_several_ranges_is_in_their_union_once():
    row, column, score, span = _candidates("integers")
    candidates = Candidates(row, column, score, ROWS, span)
    union = candidates.union(torch.tensor([3, 5, 20, 8]), torch.tensor([6, 10, 21, 8]))
    assert union.nonzero()[:, 0].tolist() == [3, 4, 5, 6, 7, 8, 9, 20]
